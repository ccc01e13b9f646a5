"""Difference-aware fusion: merges an object's earlier mask with the newly propagated one (MiVOS, section 3.3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mivos_models.networks.resnet import check_size, scaled


def difference_maps(given: Tensor, before: Tensor) -> Tensor:
    """Difference maps of an interaction, added and removed: [..., 2, H, W] from two masks [..., H, W] in 0..1."""
    difference = given - before
    return torch.stack([difference.clamp(0, 1), (-difference).clamp(0, 1)], dim=-3)


def _conv(channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 3, padding=1)


class Fusion(nn.Module):
    """A small full-resolution network, one object at a time. The published weights are ``Fusion(1.0)``."""

    def __init__(self, width: float = 1.0):
        super().__init__()
        check_size(50, width)
        channels = scaled(32, width)
        self.conv1 = nn.Sequential(_conv(9, channels), nn.ReLU())
        self.conv2 = nn.Sequential(_conv(channels, channels), nn.ReLU(), _conv(channels, channels))
        self.conv3 = nn.Sequential(_conv(channels, channels), nn.ReLU(), _conv(channels, channels))
        self.final_conv = _conv(channels, 1)

    def forward(self, image: Tensor, old: Tensor, new: Tensor, attention: Tensor, time: Tensor) -> Tensor:
        """Logits [B,1,H,W] of the merged mask.

        image: [B,3,H,W] normalised RGB; old, new: [B,1,H,W] probabilities before and after this round's propagation;
        attention: [B,2,H,W], the aligned difference maps; time: [B,2], distances to the older and the new interacted
        frame, as fractions of the distance between the two.
        """
        planes = time[:, :, None, None].expand(-1, -1, *image.shape[2:])
        x = self.conv1(torch.cat([image, old, new, attention, planes], dim=1))
        x = functional.relu(x + self.conv2(x))
        x = functional.relu(x + self.conv3(x))
        return self.final_conv(x)
