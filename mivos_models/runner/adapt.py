"""Adapts a propagation network to one video before it is segmented: its decoder learns the given frame.

As in OSVOS (Caelles et al., CVPR 2017), but from one given mask and by memory reads: the frame and its masks are warped
twice; the network memorises one copy and segments the other. Only the decoder learns, so keys and values stay as
trained.
"""

import copy

import torch
from torch import Tensor
from torch.nn import functional

from mivos_models.networks.spacetime import SpaceTimeNetwork

STEPS = 100
LEARNING_RATE = 1e-4
AREA = 288 * 288
"""Pixels of a warped copy, about: more would take longer."""
ROTATION, SCALE, SHIFT = 15.0, 0.3, 0.15
"""Largest turn in degrees, change of size (of its logarithm), and move (as a share of the sides) of a warped copy."""
COLOUR = 0.2
"""Largest change of brightness and contrast."""


def adapted(
    network: SpaceTimeNetwork, frame: Tensor, masks: Tensor, steps: int = STEPS, seed: int = 0
) -> SpaceTimeNetwork:
    """A copy of ``network``, in evaluation mode, whose decoder learned ``frame`` [1,3,H,W] with ``masks`` [1,K,H,W].

    frame: normalised RGB; masks: of its objects, 0..1; ``steps`` of Adam; equal seeds give equal copies.
    """
    with torch.inference_mode(False):
        return _adapted(copy.deepcopy(network), frame.clone(), masks.clone(), steps, seed)


def _adapted(learner: SpaceTimeNetwork, frame: Tensor, masks: Tensor, steps: int, seed: int) -> SpaceTimeNetwork:
    learner.train()
    learner.requires_grad_(False)
    learner.decoder.requires_grad_(True)
    optimiser = torch.optim.Adam(learner.decoder.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        for _ in range(steps):
            (known, given), (seen, wanted) = (_warped(frame, masks, generator) for _ in range(2))
            with torch.no_grad():
                memory = learner.memorize(known, given)
            found = learner.segment(learner.query(seen), memory)
            optimiser.zero_grad(set_to_none=True)
            _loss(found, wanted).backward()
            optimiser.step()
    return learner.requires_grad_(False).eval()


def _loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Binary cross entropy and Dice loss of probabilities [1,K,h,w]."""
    entropy = functional.binary_cross_entropy(found.clamp(1e-6, 1 - 1e-6), wanted)
    overlap, sizes = (found * wanted).sum(dim=(2, 3)), (found + wanted).sum(dim=(2, 3))
    return entropy + (1 - (2 * overlap + 1) / (sizes + 1)).mean()


def _warped(frame: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The frame and its masks, turned, scaled, moved, perhaps mirrored, and in other light."""
    H, W = frame.shape[2:]
    shrink = min(1.0, (AREA / (H * W)) ** 0.5)
    size = [max(16, round(side * shrink / 16) * 16) for side in (H, W)]
    draw = (2 * torch.rand(7, generator=generator) - 1).tolist()
    angle, zoom = torch.deg2rad(torch.tensor(ROTATION * draw[0])), torch.exp(torch.tensor(SCALE * draw[1]))
    mirror = 1.0 if draw[2] > 0 else -1.0
    cos, sin, aspect = float(torch.cos(angle) * zoom), float(torch.sin(angle) * zoom), H / W
    affine = torch.tensor(
        [[mirror * cos, -sin * aspect, 2 * SHIFT * draw[3]], [mirror * sin / aspect, cos, 2 * SHIFT * draw[4]]]
    )
    grid = functional.affine_grid(affine[None].to(frame), [1, 1, *size], align_corners=False)
    seen = functional.grid_sample(frame, grid, align_corners=False, padding_mode="reflection")
    shown = functional.grid_sample(masks, grid, align_corners=False, padding_mode="reflection")
    mean = seen.mean()
    return (seen - mean) * (1 + COLOUR * draw[5]) + mean + COLOUR * draw[6], shown
