"""What the runner and `propagate` need of a video's frames."""

from typing import Any, Protocol

import numpy as np

from vosforge import InputError


class Frames(Protocol):
    """Frames [T,H,W,3] uint8 RGB: an array, a memory map, or a sequence that decodes one frame when it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """T, H, W, 3."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of uint8."""

    @property
    def ndim(self) -> int:
        """4."""

    def __len__(self) -> int: ...

    def __getitem__(self, t: int, /) -> np.ndarray:
        """Frame ``t``, [H,W,3]."""


def check_frames(frames: Frames) -> None:
    """Raise InputError unless they are uint8 [T,H,W,3] with T ≥ 1."""
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise InputError(f"frames must be uint8 [T,H,W,3] with T ≥ 1, not {frames.dtype} {list(frames.shape)}")
