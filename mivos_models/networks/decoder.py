"""The decoder of both propagation networks, and its residual block."""

from torch import Tensor, nn
from torch.nn import functional

from mivos_models.networks.resnet import scaled


class ResBlock(nn.Module):
    """A pre-activation residual block of two 3×3 convolutions, without a final activation."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.downsample = None if channels == out_channels else nn.Conv2d(channels, out_channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W] -> [B,out_channels,H,W]."""
        residual = self.conv2(functional.relu(self.conv1(functional.relu(x))))
        return residual + (x if self.downsample is None else self.downsample(x))


class UpsampleBlock(nn.Module):
    """Upsamples the objects' features by 2 and adds the frame's skip features.

    ``refine_skip``: whether the skip branch has a residual block (MiVOS) or only one convolution (STCN).
    """

    def __init__(self, skip_channels: int, channels: int, out_channels: int, refine_skip: bool):
        super().__init__()
        self.refine_skip = refine_skip
        if refine_skip:
            self.skip_conv1 = nn.Conv2d(skip_channels, channels, 3, padding=1)
            self.skip_conv2 = ResBlock(channels, channels)
        else:
            self.skip_conv = nn.Conv2d(skip_channels, channels, 3, padding=1)
        self.out_conv = ResBlock(channels, out_channels)

    def skip(self, features: Tensor) -> Tensor:
        """The skip branch, [B,skip_channels,2h,2w] -> [B,channels,2h,2w]."""
        return self.skip_conv2(self.skip_conv1(features)) if self.refine_skip else self.skip_conv(features)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """x: [B·K,channels,h,w]; skip: [B,channels,2h,2w] -> [B·K,out_channels,2h,2w]."""
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = x.unflatten(0, (skip.shape[0], -1)) + skip.unsqueeze(1)
        return self.out_conv(x.flatten(0, 1))


class Decoder(nn.Module):
    """Decodes a memory read-out to one mask logit per pixel."""

    def __init__(self, in_channels: int, skip_channels: tuple[int, int], width: float, refine_skip: bool):
        super().__init__()
        wide, narrow = scaled(512, width), scaled(256, width)
        self.compress = ResBlock(in_channels, wide)
        self.up_16_8 = UpsampleBlock(skip_channels[1], wide, narrow, refine_skip)
        self.up_8_4 = UpsampleBlock(skip_channels[0], narrow, narrow, refine_skip)
        self.pred = nn.Conv2d(narrow, 1, 3, padding=1)

    def forward(self, x: Tensor, skip_8: Tensor, skip_4: Tensor) -> Tensor:
        """x: [B·K,C,h,w] -> logits [B·K,1,16h,16w]."""
        x = self.up_16_8(self.compress(x), skip_8)
        x = self.pred(functional.relu(self.up_8_4(x, skip_4)))
        return functional.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
