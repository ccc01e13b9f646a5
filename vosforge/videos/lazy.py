"""Frames and masks of videos too long to hold decoded: read one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vosforge.videos.codec import Region
from vosforge.videos.video import Video, objects_through

_BLOCK_BYTES = 2**26
_BLOCK_FRAMES = 64


class LazyFrames:
    """The frames of a video, [T,H,W,3] uint8 RGB, of which it holds at most 64 MiB (or one).

    Stands in for the array of `Video.frames` where frames are read one at a time: it has its ``shape``, ``dtype``,
    ``ndim`` and length, and ``frames[t]`` decodes frame ``t``. Reading backwards decodes a block of frames at once,
    because a film decodes forwards only, from a key frame on. Do not write into the frames.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, video: Video) -> None:
        self._video = video
        self.shape = video.num_frames, video.height, video.width, 3
        self._block_size = max(1, min(_BLOCK_FRAMES, _BLOCK_BYTES // (video.height * video.width * 3)))
        self._block: dict[int, np.ndarray] = {}
        self._last = -1

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, t: int) -> np.ndarray:
        """Frame ``t``, [H,W,3]; negative from the end, IndexError outside the video."""
        t = range(len(self))[t]
        if t not in self._block:
            first = max(0, t - self._block_size + 1) if t == self._last - 1 else t
            self._block.clear()
            for each in range(first, t + 1):
                self._block[each] = self._video.frame(each)
        self._last = t
        return self._block[t]


@dataclass(frozen=True)
class MaskedVideo:
    """A video with masks of its own: ``read_mask(t)`` gives the mask of frame ``t``, [H,W] uint8, when it is read."""

    video: Video
    read_mask: Callable[[int], np.ndarray]
    has_masks = True

    @property
    def id(self) -> str:
        """That of the video."""
        return self.video.id

    @property
    def num_frames(self) -> int:
        """T."""
        return self.video.num_frames

    @property
    def height(self) -> int:
        """H."""
        return self.video.height

    @property
    def width(self) -> int:
        """W."""
        return self.video.width

    @property
    def has_colors(self) -> bool:
        """Whether the video has frames."""
        return self.video.has_colors

    @property
    def num_objects(self) -> int:
        """K."""
        return len(self.object_ids)

    @cached_property
    def object_ids(self) -> tuple[int, ...]:
        """The mask values of the objects, ascending; reads every mask once."""
        return objects_through(self.num_frames, self.mask)

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """Frame ``t``, or a region of it: ``[H, W, 3]`` uint8 RGB."""
        return self.video.frame(t, region)

    def mask(self, t: int) -> np.ndarray:
        """Index mask of frame ``t``: ``[H, W]`` uint8."""
        return self.read_mask(t)

    def frames(self) -> np.ndarray:
        """All frames: ``[T, H, W, 3]`` uint8 RGB."""
        return self.video.frames()

    def masks(self) -> np.ndarray:
        """All masks: ``[T, H, W]`` uint8."""
        return np.stack([self.mask(t) for t in range(self.num_frames)])
