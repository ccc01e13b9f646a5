"""Prepares frames for the networks: normalises colours, pads sides to multiples of 16."""

from typing import NamedTuple, Self

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalise(frames: np.ndarray | Tensor) -> Tensor:
    """uint8 RGB [..., H, W, 3] -> float32 [..., 3, H, W], normalised by ImageNet's mean and standard deviation."""
    colours = frames if isinstance(frames, Tensor) else torch.tensor(np.asarray(frames))
    return normalise_planes(colours.movedim(-1, -3))


def normalise_planes(planes: Tensor) -> Tensor:
    """``normalise`` for planar images: uint8 [..., 3, H, W] -> float32 of the same shape."""
    floats = planes.to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (255 * torch.tensor(values, device=planes.device).view(3, 1, 1) for values in (MEAN, STD))
    return floats.sub_(mean).div_(std)


class Padding(NamedTuple):
    """Zero padding of an image to multiples of 16; half of it (rounded down) at the top and left."""

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
        """[..., H, W] -> [..., H + top + bottom, W + left + right]. Normalise frames first."""
        return functional.pad(x, tuple(self))

    def unpad(self, x: Tensor) -> Tensor:
        """Undo :meth:`pad`; a view."""
        height, width = x.shape[-2:]
        return x[..., self.top : height - self.bottom, self.left : width - self.right]


class NetworkView:
    """The networks' view of an H by W image: downscaled if too large, and padded."""

    def __init__(self, height: int, width: int, short_side: int | None = None) -> None:
        """``short_side``: maximum length of the shorter side; None: no limit."""
        scale = 1.0 if short_side is None else min(1.0, short_side / min(height, width))
        self.full = height, width
        self.size = max(round(height * scale), 1), max(round(width * scale), 1)
        self.padding = Padding.for_size(*self.size)

    def limited(self, short_side: int | None) -> "NetworkView":
        """The view of the same image with at most so long a shorter side."""
        return self if short_side is None else NetworkView(*self.full, min(short_side, *self.size))

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width of the networks' input."""
        left, right, top, bottom = self.padding
        return self.size[0] + top + bottom, self.size[1] + left + right

    def image(self, frame: np.ndarray) -> Tensor:
        """A frame uint8 RGB [H,W,3] -> float32 [1,3,h,w]."""
        if self.size != self.full:
            frame = cv2.resize(frame, self.size[::-1], interpolation=cv2.INTER_AREA)
        return self.padding.pad(normalise(frame)).unsqueeze(0)

    def reduced(self, planes: Tensor) -> Tensor:
        """[C,H,W] -> [C,h,w]; preserves the sum over channels."""
        if self.size != self.full:
            planes = functional.interpolate(planes.unsqueeze(0), self.size, mode="area")[0]
        return self.padding.pad(planes)

    def enlarged(self, planes: Tensor) -> Tensor:
        """[C,h,w] -> [C,H,W]."""
        planes = self.padding.unpad(planes)
        if self.size == self.full:
            return planes
        return functional.interpolate(planes.unsqueeze(0), self.full, mode="bilinear", align_corners=False)[0]
