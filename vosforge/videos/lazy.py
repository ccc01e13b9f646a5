"""A video's frames as one sequence, decoded when they are read: for videos too long to hold decoded."""

import numpy as np

from vosforge.videos.video import Video

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
