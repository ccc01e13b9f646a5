"""Frames as the networks want them: normalised colours, sides that are multiples of 16."""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalise(frames: np.ndarray | Tensor) -> Tensor:
    """uint8 RGB [..., H, W, 3] -> float32 [..., 3, H, W], by the mean and deviation of ImageNet's colours."""
    colours = frames if isinstance(frames, Tensor) else torch.tensor(np.asarray(frames))
    return normalise_planes(colours.movedim(-1, -3))


def normalise_planes(planes: Tensor) -> Tensor:
    """``normalise`` for colours that lie in planes already: uint8 [..., 3, H, W] -> float32 of the same shape."""
    floats = planes.to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (255 * torch.tensor(values, device=planes.device).view(3, 1, 1) for values in (MEAN, STD))
    return floats.sub_(mean).div_(std)


class Padding(NamedTuple):
    """Zeros around an image that make its sides multiples of 16, half of them (rounded down) before it."""

    left: int
    right: int
    top: int
    bottom: int

    @classmethod
    def for_size(cls, height: int, width: int) -> Self:
        """The padding of an image of that size."""
        rows, columns = -height % 16, -width % 16
        return cls(columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)

    def pad(self, x: Tensor) -> Tensor:
        """[..., H, W] -> [..., H + top + bottom, W + left + right]. Frames are padded after they are normalised."""
        return functional.pad(x, tuple(self))

    def unpad(self, x: Tensor) -> Tensor:
        """Undo :meth:`pad`; a view."""
        height, width = x.shape[-2:]
        return x[..., self.top : height - self.bottom, self.left : width - self.right]
