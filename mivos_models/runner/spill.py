"""State spilled to disk, because that of a long video would take too much memory."""

import math
import mmap
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vosforge.errors import VOSForgeError, first_line

_UNSEEN_BACKGROUND = 1e-7


IN_MEMORY_BYTES = 2**27
"""Masks up to this size stay in memory."""


@contextmanager
def _writing() -> Iterator[None]:
    """Turn an operating system's error into a VOSForgeError with the remedy."""
    try:
        yield
    except OSError as error:
        raise VOSForgeError(
            f"the runner's state cannot be written to {tempfile.gettempdir()} ({first_line(error)}): "
            "free some space, or set TMPDIR to a larger disk"
        ) from None


class Spill:
    """An unnamed file of tensors, float32 or uint8; freed space is reused."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as its tensors
        self.free: defaultdict[int, list[int]] = defaultdict(list)
        """Places by size in bytes."""
        self._end = 0

    def put(self, values: Tensor) -> "Spilled":
        """Write a tensor. Raises VOSForgeError if the disk is full."""
        array = values.contiguous().numpy()
        free = self.free[array.nbytes]
        place = free.pop() if free else self._end
        self.file.seek(place)
        with _writing():
            array.tofile(self.file)
        self._end = max(self._end, place + array.nbytes)
        return Spilled(self, place, array.shape, array.dtype, array.nbytes)

    def mapped(self) -> Tensor:
        """The whole file memory-mapped, float32 [numbers]."""
        return torch.from_numpy(np.memmap(self.file, np.float32, "c")) if self._end else torch.empty(0)


@dataclass(frozen=True, eq=False, slots=True)
class Spilled:
    """A tensor in a file; its space is freed with it."""

    spill: Spill
    place: int
    shape: tuple[int, ...]
    dtype: np.dtype
    nbytes: int

    def read(self) -> Tensor:
        """The tensor, in memory."""
        self.spill.file.seek(self.place)
        values = np.fromfile(self.spill.file, self.dtype, self.nbytes // self.dtype.itemsize)
        return torch.from_numpy(values.reshape(self.shape))

    def within(self, mapped: Tensor) -> Tensor:
        """The tensor, if float32, as a view of the mapped file, `Spill.mapped`."""
        return mapped[self.place // 4 :][: self.nbytes // 4].view(self.shape)

    def __del__(self) -> None:
        self.spill.free[self.nbytes].append(self.place)


class Masks:
    """Index masks uint8 [T,H,W], zeros at first: in memory or, if large, in an unnamed file of fixed size.

    Space is allocated at once, so a shortage shows early: VOSForgeError if the disk is full.
    """

    def __init__(self, frames: int, height: int, width: int):
        self.shape = frames, height, width
        self._array: np.ndarray | None = None
        if self._nbytes <= IN_MEMORY_BYTES:
            self._array = np.full(self.shape, 0, np.uint8)  # zeros() would allocate lazily and fail late
            return
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the masks
        with _writing():
            os.posix_fallocate(self._file.fileno(), 0, self._nbytes)

    @classmethod
    def of(cls, masks: "np.ndarray | Masks") -> Self:
        """An independent copy."""
        result = cls(*masks.shape)
        for t in range(len(masks)):
            result[t] = masks[t]
        return result

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frame: int) -> np.ndarray:
        """A copy of one frame's mask, [H,W]."""
        if self._array is not None:
            return self._array[frame].copy()
        _, H, W = self.shape
        data = os.pread(self._file.fileno(), H * W, frame * H * W)
        return np.frombuffer(bytearray(data), np.uint8).reshape(H, W)

    def __setitem__(self, frame: int, mask: np.ndarray) -> None:
        if self._array is not None:
            self._array[frame] = mask
            return
        data = np.ascontiguousarray(mask, np.uint8)
        with _writing():
            os.pwrite(self._file.fileno(), data.data, frame * data.nbytes)

    def array(self) -> np.ndarray:
        """All masks without copying: the array, or the file memory-mapped."""
        if self._array is not None:
            return self._array
        return np.frombuffer(mmap.mmap(self._file.fileno(), self._nbytes), np.uint8).reshape(self.shape)

    @property
    def _nbytes(self) -> int:
        return math.prod(self.shape)


class Probabilities:
    """Probabilities of background and objects, float32 [C,h,w] per frame; unset frames were never visited.

    ``size``: (h, w). A `copy` shares the stored tensors.
    """

    def __init__(self, channels: int, size: tuple[int, int], spill: Spill | None = None):
        self.channels, self.size = channels, size
        self._spill = spill or Spill()
        self._frames: dict[int, Spilled] = {}

    def __getitem__(self, frame: int) -> Tensor:
        if frame in self._frames:
            return with_channels(self._frames[frame].read(), self.channels)
        unseen = torch.zeros(self.channels, *self.size)
        unseen[0] = _UNSEEN_BACKGROUND
        return unseen

    def __setitem__(self, frame: int, values: Tensor) -> None:
        self._frames[frame] = self._spill.put(values)

    def copy(self) -> "Probabilities":
        """An independent copy that shares the stored tensors."""
        result = Probabilities(self.channels, self.size, self._spill)
        result._frames = dict(self._frames)
        return result

    def only_here(self, other: "Probabilities") -> int:
        """Bytes of frames that ``other``, a modified copy, no longer shares."""
        return sum(mine.nbytes for frame, mine in self._frames.items() if other._frames.get(frame) is not mine)

    def mapped(self) -> dict[int, Tensor]:
        """The frames that were set, memory-mapped."""
        whole = self._spill.mapped()
        return {frame: spilled.within(whole) for frame, spilled in self._frames.items()}


def with_channels(planes: Tensor, channels: int) -> Tensor:
    """Pad [C,...] with zeros to ``channels`` channels."""
    missing = channels - len(planes)
    return torch.cat([planes, planes.new_zeros(missing, *planes.shape[1:])]) if missing else planes
