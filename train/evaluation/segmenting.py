"""Segments videos with a propagation network from the true masks of their objects: the semi-supervised task."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mivos_models import SpaceTimeNetwork
from mivos_models.runner.semi_supervised import propagate
from train.evaluation.truth import Truth
from vosforge.errors import InputError
from vosforge.videos.folders import FolderVideo
from vosforge.videos.video import objects_in


class Segmented(NamedTuple):
    """One video's masks ``[T, H, W]`` uint8 with the labels of the truth, by frame name, and the seconds it took."""

    names: list[str]
    masks: np.ndarray
    seconds: float


def segment(
    truth: Truth,
    network: SpaceTimeNetwork,
    first_only: bool,
    short_side: int | None,
    adapt: bool = False,
    change: Callable[[np.ndarray, str], np.ndarray] = lambda frames, _: frames,
) -> Segmented:
    """Segment a video: each object is given by its true mask where it first appears (in YouTube-VOS's meta: listed).

    ``first_only``: only the objects of the first frame are given, as in DAVIS. ``short_side``, ``adapt``: as in
    `propagate`. ``change``: applied to the frames ``[T, H, W, 3]`` and the video's id first, as by `corrupted`.
    InputError for a video without frames, or without an object to start from.
    """
    video = truth.video()
    if not video.has_colors:
        raise InputError(f"the video '{truth.id}' has no colours to segment: render it with render.colors=true")
    names = frame_names(truth)
    masks = truth.masks()
    given = first_masks(masks[:1] if first_only else masks)
    if not given:
        raise InputError(f"the masks of '{truth.id}' show no object to start from")
    start = min(given)
    at = {name: t for t, name in enumerate(names)}
    frames = change(video.frames(), truth.id)
    began = time.monotonic()
    first = at[truth.names[start]]
    later = {at[truth.names[t]] - first: mask for t, mask in given.items() if t > start}
    found = np.zeros(frames.shape[:3], np.uint8)
    found[first:] = propagate(frames[first:], given[start], network, later=later, short_side=short_side, adapt=adapt)
    return Segmented(names, found, time.monotonic() - began)


def frame_names(truth: Truth) -> list[str]:
    """The names of all frames of a video with frames, in order."""
    video = truth.video()
    return video.frame_names if isinstance(video, FolderVideo) else truth.names


def first_masks(truth: np.ndarray) -> dict[int, np.ndarray]:
    """By frame, the index mask ``[H, W]`` of the objects of ``truth [T, H, W]`` that appear there first."""
    known: set[int] = set()
    given = {}
    for t, mask in enumerate(truth):
        new = [label for label in objects_in(mask) if label not in known]
        known.update(new)
        if new:
            given[t] = np.where(np.isin(mask, new), mask, 0).astype(np.uint8)
    return given
