"""ResNet trunks of depth 18 and 50 (He et al. 2015, stride on the 3×3 convolution), without pooling and classes.

Module names are those of the published checkpoints, so state dicts load unchanged.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

Depth = Literal[18, 50]

_BLOCKS: dict[int, tuple[int, ...]] = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, a multiple of 8 and at least 8."""
    return max(8, round(channels * width / 8) * 8)


def check_size(depth: int, width: float) -> None:
    """Raise ValueError unless depth is 18 or 50 and width a positive multiple of 1/8.

    Such widths can be read back from the first convolution's shape, which is how checkpoints are loaded.
    """
    if depth not in _BLOCKS:
        raise ValueError(f"depth must be 18 or 50, not {depth}")
    if width <= 0 or not (width * 8).is_integer():
        raise ValueError(f"width must be a positive multiple of 1/8, not {width}")


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, channels: int, planes: int, stride: int, dilation: int, bias: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, dilation, dilation, bias=bias)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, dilation, dilation, bias=bias)
        self.bn2 = _starts_at_zero(nn.BatchNorm2d(planes))
        self.downsample = _shortcut(channels, planes, stride, bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W] -> [B,planes,H/stride,W/stride]."""
        residual = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        return functional.relu(residual.add_(self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride and the dilation), 1×1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int, dilation: int, bias: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, dilation, dilation, bias=bias)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=bias)
        self.bn3 = _starts_at_zero(nn.BatchNorm2d(planes * self.expansion))
        self.downsample = _shortcut(channels, planes * self.expansion, stride, bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W] -> [B,4·planes,H/stride,W/stride]."""
        residual = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = functional.relu(self.bn2(self.conv2(residual)), inplace=True)
        residual = self.bn3(self.conv3(residual))
        return functional.relu(residual.add_(self.downsample(x)), inplace=True)


def _starts_at_zero(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """A residual branch's last norm, silent at first, so that a trunk with random weights starts as its shortcuts.

    Goyal et al., "Accurate, Large Minibatch SGD" (2017), section 5.1.
    """
    nn.init.zeros_(norm.weight)
    return norm


def _shortcut(channels: int, out_channels: int, stride: int, bias: bool) -> nn.Sequential:
    if stride == 1 and channels == out_channels:
        return nn.Sequential()  # the identity, without keys
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 1, stride, bias=bias),
        nn.BatchNorm2d(out_channels),
    )


class ResNet(nn.Module):
    """A trunk that returns the output of each of its stages.

    ``stage_names`` are the official module names, one per stage (3 or 4 of them). ``dilate_last`` keeps the last
    stage at the resolution of the one before: its stride becomes dilation 2 from its second block on.
    ``channels`` holds the number of output channels per stage.
    """

    def __init__(
        self,
        depth: Depth,
        width: float,
        in_channels: int,
        stage_names: tuple[str, ...] = ("layer1", "layer2", "layer3"),
        *,
        conv_bias: bool = False,
        dilate_last: bool = False,
    ):
        super().__init__()
        check_size(depth, width)
        block = BasicBlock if depth == 18 else Bottleneck
        counts = _BLOCKS[depth][: len(stage_names)]
        channels = scaled(64, width)
        self.conv1 = nn.Conv2d(in_channels, channels, 7, 2, 3, bias=conv_bias)
        self.bn1 = nn.BatchNorm2d(channels)
        self.stage_names = stage_names
        self.channels: tuple[int, ...] = ()
        for index, (name, count) in enumerate(zip(stage_names, counts, strict=True)):
            dilated = dilate_last and index == len(stage_names) - 1
            planes = scaled(64 * 2**index, width)
            stage = nn.Sequential()
            for position in range(count):
                stride = 2 if position == 0 and index > 0 and not dilated else 1
                dilation = 2 if position > 0 and dilated else 1
                stage.append(block(channels, planes, stride, dilation, conv_bias))
                channels = planes * block.expansion
            self.add_module(name, stage)
            self.channels += (channels,)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B,in_channels,H,W] -> one [B,C,H/s,W/s] per stage, s = 4, 8, 16, …"""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.max_pool2d(x, 3, 2, 1)
        outputs = []
        for name in self.stage_names:
            x = self.get_submodule(name)(x)
            outputs.append(x)
        return outputs
