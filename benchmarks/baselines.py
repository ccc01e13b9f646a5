"""Masks that need no training, to compare networks with: copied, carried by optical flow, or by an untrained trunk.

    python -m benchmarks.baselines path/to/DAVIS runs/copy --method copy
    python -m benchmarks.baselines path/to/DAVIS runs/flow --method flow
    python -m benchmarks.baselines path/to/DAVIS runs/trunk --method trunk [--trunk mobilenet_v2-7ebf99e0.pth]
    vosforge evaluate runs/copy runs/flow runs/trunk path/to/DAVIS --protocol davis16

The objects of the first frame are given. ``flow``: DIS optical flow (Kroeger et al., ECCV 2016) from each frame back to
the one before. ``trunk``: labels carried by MobileNetV2's features at stride 16 with ImageNet's weights, from the first
frame and the last five (the procedure of self-supervised tracking, as by Caron et al., "DINO", ICCV 2021): the 10 most
similar cells within 12 cells, temperature 0.07.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mivos_models import load_imagenet
from mivos_models.networks.images import NetworkView
from mivos_models.networks.memory import largest
from mivos_models.networks.mobilenet import MobileNetV2
from tools.convert.writing import palette_png
from train.evaluation.segmenting import frame_names
from train.evaluation.truth import open_truth
from vosforge.files import write_sealed
from vosforge.progress import progress

LAST, TOP, RADIUS, TEMPERATURE = 5, 10, 12, 0.07

Carry = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Frames [T,H,W,3] uint8 and the mask [H,W] of the first -> the masks of all, [T,H,W] uint8."""


def copied(frames: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The first mask in every frame."""
    return np.repeat(mask[None], len(frames), axis=0)


def by_flow(frames: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each pixel takes the label of where it was in the frame before."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    masks = [mask]
    for before, now in itertools.pairwise(grey):
        back = flow.calc(now, before, None)
        masks.append(cv2.remap(masks[-1], x + back[..., 0], y + back[..., 1], cv2.INTER_NEAREST))
    return np.stack(masks)


@torch.inference_mode()
def by_trunk(frames: np.ndarray, mask: np.ndarray, trunk: Callable[[Tensor], list[Tensor]]) -> np.ndarray:
    """Each cell takes the labels of the cells that look most alike."""
    view = NetworkView(*mask.shape)
    count = int(mask.max()) + 1
    planes = torch.stack([torch.from_numpy((mask == label).astype(np.float32)) for label in range(count)])
    height, width = (side // 16 for side in view.padded_size)
    shares = functional.avg_pool2d(view.padding.pad(planes), 16).flatten(1)
    rows, columns = (
        axis.flatten() for axis in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    )
    near = ((rows[:, None] - rows).abs() <= RADIUS) & ((columns[:, None] - columns).abs() <= RADIUS)
    known: list[tuple[Tensor, Tensor]] = []
    masks = [mask]
    for t, frame in enumerate(frames):
        features = functional.normalize(trunk(view.image(frame))[-1][0].flatten(1), dim=0)
        if t:
            keys, values = (torch.cat(parts, dim=1) for parts in zip(*known, strict=True))
            similarity = (features.T @ keys) / TEMPERATURE
            best, cells = largest(similarity.masked_fill(~near.repeat(1, len(known)), -torch.inf), TOP)
            shares = torch.einsum("qk,lqk->lq", torch.softmax(best, dim=1), values[:, cells])
            large = functional.interpolate(shares.view(1, count, height, width), size=view.padded_size, mode="bilinear")
            masks.append(view.enlarged(large[0]).argmax(dim=0).to(torch.uint8).numpy())
        known.append((features, shares))
        known = [known[0], *known[1:][-LAST:]]
    return np.stack(masks)


def main() -> None:
    """Write a results folder."""
    parser = argparse.ArgumentParser(description="Masks that need no training, as a results folder.")
    parser.add_argument("truth", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--method", choices=("copy", "flow", "trunk"), required=True)
    parser.add_argument("--trunk", default="IMAGENET1K_V1", help="a file of MobileNetV2's ImageNet weights")
    parser.add_argument("--split", default=None)
    options = parser.parse_args()
    carry: Carry = {"copy": copied, "flow": by_flow}.get(options.method, copied)
    if options.method == "trunk":
        trunk = MobileNetV2().eval()
        load_imagenet(trunk, options.trunk)
        carry = lambda frames, mask: by_trunk(frames, mask, trunk)  # noqa: E731
    truths = open_truth(options.truth, options.split)
    with progress(options.method, len(truths)) as bar:
        for truth in truths:
            first = np.where(truth.masks()[0] == 255, 0, truth.masks()[0])
            for name, mask in zip(frame_names(truth), carry(truth.video().frames(), first), strict=True):
                write_sealed(options.out / truth.id / f"{name}.png", palette_png(mask))
            bar.advance(truth.id)


if __name__ == "__main__":
    main()
