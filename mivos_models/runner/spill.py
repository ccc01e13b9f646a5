"""Tensors spilled to disk, because those of a long video would take too much memory."""

import tempfile
import weakref
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vosforge.errors import VOSForgeError, first_line

_UNSEEN_BACKGROUND = 1e-7


class Spill:
    """An unnamed file of float32 tensors; freed space is reused."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as its tensors
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)

    def put(self, values: Tensor) -> "Spilled":
        """Write a tensor. Raises VOSForgeError if the disk is full."""
        array = values.contiguous().numpy()
        free = self._free[array.nbytes]
        place = free.pop() if free else self._end
        self.file.seek(place)
        try:
            array.tofile(self.file)
        except OSError as error:
            raise VOSForgeError(
                f"the runner's state cannot be written to {tempfile.gettempdir()} ({first_line(error)}): "
                "free some space, or set TMPDIR to a larger disk"
            ) from None
        self._end = max(self._end, place + array.nbytes)
        spilled = Spilled(self, place, array.shape, array.nbytes)
        weakref.finalize(spilled, free.append, place).atexit = False
        return spilled

    def mapped(self) -> Tensor:
        """The whole file memory-mapped, float32 [numbers]."""
        return torch.from_numpy(np.memmap(self.file, np.float32, "c")) if self._end else torch.empty(0)


@dataclass(frozen=True, eq=False)
class Spilled:
    """A tensor in a file."""

    spill: Spill
    place: int
    shape: tuple[int, ...]
    nbytes: int

    def read(self) -> Tensor:
        """The tensor, in memory."""
        self.spill.file.seek(self.place)
        values = np.fromfile(self.spill.file, np.float32, self.nbytes // 4)
        return torch.from_numpy(values.reshape(self.shape))

    def within(self, mapped: Tensor) -> Tensor:
        """The tensor as a view of the mapped file, `Spill.mapped`."""
        return mapped[self.place // 4 :][: self.nbytes // 4].view(self.shape)


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
