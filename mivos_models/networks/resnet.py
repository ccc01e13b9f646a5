"""ResNet trunks of depth 18 and 50 (He et al. 2015, stride on the 3×3 convolution), without pooling and classifier.

Module names match the published checkpoints, so state dicts load unchanged.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

Depth = Literal[18, 50]

_BLOCKS: dict[int, tuple[int, ...]] = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, rounded to a multiple of 8, at least 8."""
    return max(8, round(channels * width / 8) * 8)


def check_size(depth: int, width: float) -> None:
    """Raise ValueError unless depth is 18 or 50 and width a positive multiple of 1/8.

    Checkpoints infer such widths from the first convolution's shape.
    """
    if depth not in _BLOCKS:
        raise ValueError(f"depth must be 18 or 50, not {depth}")
    if width <= 0 or not (width * 8).is_integer():
        raise ValueError(f"width must be a positive multiple of 1/8, not {width}")


def _block(
    kind: type[BasicBlock | Bottleneck], channels: int, planes: int, stride: int, dilation: int, bias: bool
) -> BasicBlock | Bottleneck:
    """torchvision's block, extended by biases and by dilation at depth 18.

    The residual branch's last norm starts with scale 0, so that a random trunk starts as its shortcuts (Goyal et al.,
    "Accurate, Large Minibatch SGD", 2017, section 5.1).
    """
    block = kind(channels, planes, stride)
    out_channels = planes * kind.expansion
    if stride != 1 or channels != out_channels:
        block.downsample = nn.Sequential(conv1x1(channels, out_channels, stride), nn.BatchNorm2d(out_channels))
    for conv in (module for module in block.modules() if isinstance(module, nn.Conv2d)):
        if conv.kernel_size == (3, 3):
            conv.dilation = conv.padding = (dilation, dilation)
        if bias:
            conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
    nn.init.zeros_((block.bn3 if isinstance(block, Bottleneck) else block.bn2).weight)
    return block


class ResNet(nn.Module):
    """A trunk that returns the output of each of its stages.

    ``stage_names``: the published module names of its 3 or 4 stages. ``dilate_last``: keep the last stage at the
    resolution of the one before; its stride becomes dilation 2 from its second block on. The attribute ``channels``
    holds the output channels per stage.
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
        kind = BasicBlock if depth == 18 else Bottleneck
        counts = _BLOCKS[depth][: len(stage_names)]
        channels = scaled(64, width)
        self.conv1 = nn.Conv2d(in_channels, channels, 7, 2, 3, bias=conv_bias)
        self.bn1 = nn.BatchNorm2d(channels)
        self.depth, self.stage_names = depth, stage_names
        self.channels: tuple[int, ...] = ()
        for index, (name, count) in enumerate(zip(stage_names, counts, strict=True)):
            dilated = dilate_last and index == len(stage_names) - 1
            planes = scaled(64 * 2**index, width)
            stage = nn.Sequential()
            for position in range(count):
                stride = 2 if position == 0 and index > 0 and not dilated else 1
                dilation = 2 if position > 0 and dilated else 1
                stage.append(_block(kind, channels, planes, stride, dilation, conv_bias))
                channels = planes * kind.expansion
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
