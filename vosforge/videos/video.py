"""The interface of videos for all consumers, from shards, folders or memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from vosforge import InputError
from vosforge.terms import VOID
from vosforge.videos.codec import Region


@runtime_checkable
class Video(Protocol):
    """A sequence of frames (if ``has_colors``) and index masks (if ``has_masks``), read one frame at a time."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def num_frames(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def num_objects(self) -> int: ...  # noqa: D102
    @property
    def object_ids(self) -> tuple[int, ...]:
        """The mask values of the objects, ascending, without 0 (background) and 255 (void)."""

    @property
    def has_masks(self) -> bool:
        """Whether ``mask`` and ``masks`` are available."""

    @property
    def has_colors(self) -> bool:
        """Whether ``frame`` and ``frames`` are available."""

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """Frame ``t``, or a region of it: ``[H, W, 3]`` uint8 RGB."""

    def mask(self, t: int) -> np.ndarray:
        """Index mask of frame ``t``: ``[H, W]`` uint8, 0 = background."""

    def frames(self) -> np.ndarray:
        """All frames: ``[T, H, W, 3]`` uint8 RGB."""

    def masks(self) -> np.ndarray:
        """All masks: ``[T, H, W]`` uint8."""


@dataclass(frozen=True)
class MemoryVideo:
    """A decoded video: ``all_frames [T, H, W, 3]`` uint8 RGB and ``all_masks [T, H, W]`` uint8, or None."""

    id: str
    all_frames: np.ndarray
    all_masks: np.ndarray | None
    has_colors = True

    def __post_init__(self) -> None:
        if self.all_frames.ndim != 4 or self.all_frames.shape[3] != 3 or self.all_frames.dtype != np.uint8:
            raise ValueError(f"frames of '{self.id}' must be uint8 [T, H, W, 3], not {self.all_frames.shape}")
        if self.all_masks is not None and self.all_masks.shape != self.all_frames.shape[:3]:
            raise ValueError(f"masks {self.all_masks.shape} and frames {self.all_frames.shape} of '{self.id}' differ")

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.all_frames)

    @property
    def height(self) -> int:
        """H."""
        return int(self.all_frames.shape[1])

    @property
    def width(self) -> int:
        """W."""
        return int(self.all_frames.shape[2])

    @property
    def num_objects(self) -> int:
        """K."""
        return len(self.object_ids)

    @cached_property
    def object_ids(self) -> tuple[int, ...]:
        """The mask values of the objects, ascending."""
        return () if self.all_masks is None else objects_in(self.all_masks)

    @property
    def has_masks(self) -> bool:
        """Whether there are masks."""
        return self.all_masks is not None

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """Frame ``t``, or a region of it: ``[H, W, 3]`` uint8 RGB."""
        if region is None:
            return self.all_frames[t]
        return self.all_frames[t, region.top : region.bottom, region.left : region.right]

    def mask(self, t: int) -> np.ndarray:
        """Index mask of frame ``t``: ``[H, W]`` uint8."""
        return self.masks()[t]

    def frames(self) -> np.ndarray:
        """All frames."""
        return self.all_frames

    def masks(self) -> np.ndarray:
        """All masks; InputError without any."""
        if self.all_masks is None:
            raise InputError(f"the video '{self.id}' has no masks; only videos with ground truth can be used here")
        return self.all_masks


def objects_in(masks: np.ndarray) -> tuple[int, ...]:
    """The object labels of an index mask of any shape, ascending, without background and void."""
    found = np.flatnonzero(np.bincount(masks.ravel(), minlength=256))
    return tuple(int(label) for label in found if label not in (0, VOID))


def objects_through(num_frames: int, mask_of: Callable[[int], np.ndarray]) -> tuple[int, ...]:
    """The object labels of a video's index masks, ascending, read one at a time."""
    return tuple(sorted({label for t in range(num_frames) for label in objects_in(mask_of(t))}))


def label_areas(mask: np.ndarray) -> np.ndarray:
    """The pixels of each label of ``mask [H, W]`` uint8: float32 ``[256]``, exact up to 2**24."""
    return cv2.calcHist([mask], [0], None, [256], (0.0, 256.0)).ravel()


def in_memory(videos: Sequence[Video]) -> list[MemoryVideo]:
    """``videos`` decoded once; for the few short videos of a demo, not for a data set."""
    return [MemoryVideo(video.id, video.frames(), video.masks() if video.has_masks else None) for video in videos]


def usable_for_training(videos: Sequence[Video], num_frames: int = 1) -> list[Video]:
    """The videos with colours, masks, objects and at least ``num_frames`` frames; InputError when none is left."""
    coloured = [video for video in videos if video.has_colors]
    if videos and not coloured:
        raise InputError(f"none of the {len(videos)} training videos has colours: render them with render.colors=true")
    usable = [video for video in coloured if video.has_masks and video.num_objects and video.num_frames >= num_frames]
    if not usable:
        raise InputError(
            f"none of the {len(videos)} training videos has masks with an object and at least {num_frames} frame(s); "
            "render some, or name another folder"
        )
    return usable
