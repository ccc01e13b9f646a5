"""S2M (scribble to mask): predicts an object's new mask from a frame, its current mask and strokes.

DeepLabV3+ (Chen et al., ECCV 2018) with output stride 16 and six input channels, as in MiVOS.
"""

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.ops import Conv2dNormActivation

from mivos_models.networks.aggregate import aggregate
from mivos_models.networks.images import NetworkView
from mivos_models.networks.mobilenet import MobileNetV2
from mivos_models.networks.resnet import Depth, ResNet, scaled

REACH = 0.01
"""How near a change counts as touched, as a share of the shorter side."""
_DROPOUT = 0.1
"""As published; torchvision's ASPP has 0.5."""


class Head(nn.Module):
    """Fuses the ASPP output with low-level features at a quarter of the resolution."""

    def __init__(self, low_channels: int, channels: int, width: float):
        super().__init__()
        low, middle = scaled(48, width), scaled(256, width)
        self.project = Conv2dNormActivation(low_channels, low, 1)
        self.aspp = ASPP(channels, (6, 12, 18), middle)
        self.aspp.project[-1].p = _DROPOUT
        self.classifier = nn.Sequential(*Conv2dNormActivation(low + middle, middle), nn.Conv2d(middle, 1, 1))

    def forward(self, low_level: Tensor, x: Tensor) -> Tensor:
        """low_level: [B,low_channels,4h,4w]; x: [B,channels,h,w] -> logits [B,1,4h,4w]."""
        low_level = self.project(low_level)
        x = functional.interpolate(self.aspp(x), size=low_level.shape[2:], mode="bilinear", align_corners=False)
        return self.classifier(torch.cat([low_level, x], dim=1))


class S2M(nn.Module):
    """Mask logits of one object from a frame, its current mask, and positive and negative strokes.

    Training needs batches of at least two, because the pooled branch's batch norm has one cell per image. The published
    weights are ``S2M(50, 1.0)``.
    """

    short_side: int | None = None
    """What `corrected` reduces the shorter side of larger frames to; None: they stay as they are."""
    looks_again = False
    """Whether `corrected` has it look again, with the mask it has found, where an object had none."""
    keeps_the_rest = False
    """Whether a correction changes only regions that a stroke touches, see `merged`."""

    def __init__(self, depth: Depth = 50, width: float = 1.0):
        super().__init__()
        trunk = ResNet(depth, width, 6, ("layer1", "layer2", "layer3", "layer4"), dilate_last=True)
        self.backbone: ResNet | MobileNetV2 = trunk
        self.classifier = Head(trunk.channels[0], trunk.channels[-1], width)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B,6,H,W], the normalised RGB frame, the current mask, positive and negative strokes (0 or 1).

        Returns logits [B,1,H,W]. The pooled branch covers the whole input, so padding or cropping changes the result.
        """
        features = self.backbone(x)
        logits = self.classifier(features[0], features[-1])
        return functional.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)


@torch.inference_mode()
def corrected(
    network: S2M,
    frame: np.ndarray,
    mask: np.ndarray,
    strokes: np.ndarray,
    view: NetworkView,
    device: torch.device,
) -> Tensor:
    """Correct a mask by strokes: probabilities of background and objects, nearly 0 or 1, float32 [K+1,H,W].

    frame: uint8 RGB [H,W,3]; mask: uint8 [H,W]; strokes: bool [K,2,H,W], positive and negative; view: maps H by W to
    the network's input, which is reduced further for a network with a ``short_side``; device: the network's device.
    """
    view = view.limited(network.short_side)
    objects = torch.arange(1, len(strokes) + 1).view(-1, 1, 1)
    current = (torch.from_numpy(mask) == objects).float()
    # Thin strokes survive downscaling: a cell counts if any of its pixels does. Then 3×3 dilation.
    drawn = functional.adaptive_max_pool2d(torch.from_numpy(strokes).float(), view.size)
    drawn = view.padding.pad(functional.max_pool2d(drawn, 3, 1, 1))
    inputs = torch.cat([view.reduced(current).round().unsqueeze(1), drawn], dim=1).to(device)
    image = view.image(frame).to(device).expand(len(strokes), -1, -1, -1)
    logits = network(torch.cat([image, inputs], dim=1))
    if network.looks_again and (new := ~current.flatten(1).any(dim=1)).any():
        inputs[new, :1] = (logits[new] > 0).float()
        logits[new] = network(torch.cat([image[new], inputs[new]], dim=1))
    return view.enlarged(aggregate(torch.sigmoid(logits.squeeze(1)), hard=True))


def merged(old: np.ndarray, new: np.ndarray, strokes: np.ndarray) -> np.ndarray:
    """The mask ``old`` [H,W] with those connected regions of change to ``new`` that a stroke touches.

    strokes: bool [..., H, W]. A stroke stands for what the user saw; elsewhere the mask was good enough (progressive
    merge: Chen et al., "FocalClick", CVPR 2022). An ``old`` without objects is replaced.
    """
    if not old.any():
        return new
    reach = 2 * max(1, round(min(old.shape) * REACH)) + 1
    drawn = strokes.reshape(-1, *old.shape).any(axis=0).astype(np.uint8)
    touched = cv2.dilate(drawn, np.ones((reach, reach), np.uint8))
    _, regions = cv2.connectedComponents((old != new).astype(np.uint8), connectivity=8)
    taken = np.unique(regions[touched > 0])
    return np.where(np.isin(regions, taken[taken > 0]), new, old)
