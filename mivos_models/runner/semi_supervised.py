"""Semi-supervised segmentation: propagates masks from each object's first frame through the rest of a video.

As in Mask-Propagation's evaluation (Cheng et al., CVPR 2021, supplement): given masks are aggregated before they are
memorised, and each object is in memory from its own first frame on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch

from mivos_models.networks.aggregate import aggregate
from mivos_models.networks.images import NetworkView
from mivos_models.networks.memory import MEMORY_FRAMES, Bank, Memory, check_memory_frames
from mivos_models.networks.spacetime import SpaceTimeNetwork
from mivos_models.runner.adapt import adapted
from mivos_models.runner.fast import Precision, check_precision, optimized
from mivos_models.runner.frames import Frames, check_frames
from mivos_models.runner.spill import Masks
from vosforge import InputError


@torch.inference_mode()
def propagate(
    frames: Frames,
    first_mask: np.ndarray,
    propagation: SpaceTimeNetwork,
    *,
    later: Mapping[int, np.ndarray] | None = None,
    top_k: int | Literal["published"] | None = "published",
    mem_every: int = 5,
    memory_frames: int = MEMORY_FRAMES,
    short_side: int | None = None,
    precision: Precision = "full",
    adapt: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Propagate the masks in which objects first appear; returns the masks of all frames, uint8 [T,H,W].

    frames: uint8 RGB [T,H,W,3], an array, a memory map, or `Frames` decoded when read; first_mask: index mask [H,W] of
    frame 0; later: by frame, index masks of objects that enter there (new labels only; other pixels 0), which override
    propagated masks. ``top_k``, ``mem_every``, ``memory_frames`` (of each group of objects that enter together),
    ``short_side``, ``precision``: as in `InteractiveRunner`; ``adapt``: first have a copy of the network learn frame 0
    (`adapted`), which takes seconds; progress: called with frames done and total frames.
    Memory does not grow with the video: masks above 128 MiB are in an unnamed file, returned memory-mapped.
    Raises InputError for masks that do not match the frames or one another, ValueError for a network in training mode.
    """
    given = _checked({0: first_mask, **(later or {})}, frames)
    top_k = propagation.published_top_k if top_k == "published" else top_k
    if propagation.training:
        raise ValueError("the propagation network is in training mode; call its eval() first")
    check_precision(precision)
    check_memory_frames(memory_frames)
    device, network = next(propagation.parameters()).device, optimized(propagation, precision)
    T, H, W = frames.shape[:3]
    view, masks = NetworkView(H, W, short_side), Masks(T, H, W)
    sizes: list[int] = []  # per group of objects that entered together, with its memories
    banks: list[Bank] = []
    labels = np.zeros(1, np.uint8)
    last_permanent = 0
    for t in range(T):
        image = view.image(np.asarray(frames[t])).to(device)
        query = network.query(image)
        found = torch.zeros(0, *view.padded_size, device=device)
        if banks:
            found = torch.cat([network.segment(query, bank.memory, top_k)[0] for bank in banks])
        if t in given:
            new = np.unique(given[t][given[t] > 0])
            shown = torch.from_numpy(np.stack([given[t] == label for label in new])).float()
            shown = view.reduced(shown).to(device)
            if adapt and t == 0:
                network = optimized(adapted(propagation, image, shown.unsqueeze(0)), precision)
                query = network.query(image)
            if banks:
                found = aggregate(found)[1:]  # before and after adding the new masks, as published
            found = torch.cat([found * (shown.sum(dim=0) <= 0.5), shown])
            labels = np.concatenate([labels, new])
            sizes.append(len(new))
        probabilities = aggregate(found)
        mask = labels[view.enlarged(probabilities).max(dim=0).indices.cpu().numpy()]
        masks[t] = np.where(given[t] > 0, given[t], mask) if t in given else mask
        permanent = t in given or t - last_permanent >= mem_every
        if sizes and t < T - 1 and (permanent or propagation.keeps_previous):
            last_permanent = t if permanent else last_permanent
            memory = network.memorize(image, probabilities[1:].unsqueeze(0), query)
            for number, part in enumerate(_split(memory, sizes)):
                if number == len(banks):
                    banks.append(Bank(part, Bank.space(memory_frames, len(given), (T - t) // mem_every + 1)))
                banks[number].add(part, t, given=t in given, for_good=permanent)
        if progress is not None:
            progress(t + 1, T)
    return masks.array()


def _split(memory: Memory, sizes: Sequence[int]) -> Iterator[Memory]:
    """A frame's memory, split into groups of objects."""
    parts = (part.split(sizes, dim=1) if part.shape[1] > 1 else [part] * len(sizes) for part in memory)
    return map(Memory, *parts)


def _checked(given: Mapping[int, np.ndarray], frames: Frames) -> dict[int, np.ndarray]:
    check_frames(frames)
    known: set[int] = set()
    result = {}
    for t, mask in sorted(given.items()):
        mask = np.asarray(mask)
        if not 0 <= t < len(frames):
            raise InputError(f"there is no frame {t}: the video has frames 0..{len(frames) - 1}")
        if mask.shape != frames.shape[1:3] or mask.dtype.kind not in "iub" or mask.min() < 0 or mask.max() > 255:
            raise InputError(
                f"the mask of frame {t} must be labels 0..255 of {list(frames.shape[1:3])}, "
                f"not {mask.dtype} {list(mask.shape)}"
            )
        new = set(np.unique(mask).tolist()) - {0}
        if again := new & known:
            raise InputError(f"the mask of frame {t} shows object {min(again)}, which has a mask at an earlier frame")
        if new:
            known |= new
            result[t] = mask.astype(np.uint8)
    return result
