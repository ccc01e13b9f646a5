"""The propagation network: carries object masks from memorised frames to other frames of a video.

The space-time memory network (Oh et al., ICCV 2019) in the variant that MiVOS publishes.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from mivos_models.memory import Memory, read, transfer
from mivos_models.resnet import Depth, ResNet, scaled


class Query(NamedTuple):
    """All that segmenting a frame needs of the frame itself, so that it can be kept when the frame is revisited.

    key: [B,Ck,h,w]; value: [B,Cv,h,w]; skip_8: [B,C,2h,2w] and skip_4: [B,C,4h,4w], the decoder's skip branches,
    which are the same for all objects.
    """

    key: Tensor
    value: Tensor
    skip_8: Tensor
    skip_4: Tensor


class KeyValue(nn.Module):
    """Projects features [B,C,h,w] to a key [B,Ck,h,w] and a value [B,Cv,h,w]."""

    def __init__(self, channels: int, key_channels: int, value_channels: int):
        super().__init__()
        self.key_proj = nn.Conv2d(channels, key_channels, 3, padding=1)
        self.val_proj = nn.Conv2d(channels, value_channels, 3, padding=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value of each grid cell."""
        return self.key_proj(features), self.val_proj(features)


class ResBlock(nn.Module):
    """A pre-activation residual block of two 3×3 convolutions, with no activation at its end."""

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
    """Doubles the resolution of the objects' features and adds the frame's own at that resolution."""

    def __init__(self, skip_channels: int, channels: int, out_channels: int):
        super().__init__()
        self.skip_conv1 = nn.Conv2d(skip_channels, channels, 3, padding=1)
        self.skip_conv2 = ResBlock(channels, channels)
        self.out_conv = ResBlock(channels, out_channels)

    def skip(self, features: Tensor) -> Tensor:
        """The frame's part, [B,skip_channels,2h,2w] -> [B,channels,2h,2w]."""
        return self.skip_conv2(self.skip_conv1(features))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """x: [B·K,channels,h,w]; skip: [B,channels,2h,2w] -> [B·K,out_channels,2h,2w]."""
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = x.unflatten(0, (skip.shape[0], -1)) + skip.unsqueeze(1)
        return self.out_conv(x.flatten(0, 1))


class Decoder(nn.Module):
    """Turns what was read from the memory into one mask logit per pixel."""

    def __init__(self, in_channels: int, skip_channels: tuple[int, int], width: float):
        super().__init__()
        wide, narrow = scaled(512, width), scaled(256, width)
        self.compress = ResBlock(in_channels, wide)
        self.up_16_8 = UpsampleBlock(skip_channels[1], wide, narrow)
        self.up_8_4 = UpsampleBlock(skip_channels[0], narrow, narrow)
        self.pred = nn.Conv2d(narrow, 1, 3, padding=1)

    def forward(self, x: Tensor, skip_8: Tensor, skip_4: Tensor) -> Tensor:
        """x: [B·K,C,h,w] -> logits [B·K,1,16h,16w]."""
        x = self.up_16_8(self.compress(x), skip_8)
        x = self.pred(functional.relu(self.up_8_4(x, skip_4)))
        return functional.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


_KEY_GAIN = 4.0


class Propagation(nn.Module):
    """Memorises frames with masks, and segments other frames by what it memorised.

    All methods take B videos at once and are differentiable. Frames are normalised RGB, [B,3,H,W] float32, with H
    and W multiples of 16 (else ValueError); the grid is h = H/16, w = W/16.

    The published weights are ``Propagation(50, 1.0)``; ``depth`` 18 and a ``width`` (a multiple of 1/8) that scales
    every channel number give the same network in small.
    """

    published_top_k = 50

    def __init__(self, depth: Depth = 50, width: float = 1.0):
        super().__init__()
        self.mask_rgb_encoder = ResNet(depth, width, 5, conv_bias=True)
        self.rgb_encoder = ResNet(depth, width, 3, ("res2", "layer2", "layer3"))
        channels_4, channels_8, channels_16 = self.rgb_encoder.channels
        key_channels, value_channels = scaled(128, width), scaled(512, width)
        self.kv_m_f16 = KeyValue(channels_16, key_channels, value_channels)
        self.kv_q_f16 = KeyValue(channels_16, key_channels, value_channels)
        self.decoder = Decoder(2 * value_channels, (channels_4, channels_8), width)
        self._see_alike()
        self.train(self.training)  # sets batch norm aside at once

    @torch.no_grad()
    def _see_alike(self) -> None:
        """Let memory and query start with the same view of an image, and with keys that tell places apart.

        Otherwise equal places have unrelated keys, every read averages the whole memory, and training from random
        weights first has to find out that it can point at anything.
        """
        for memory, query in zip(self.mask_rgb_encoder.modules(), self.rgb_encoder.modules(), strict=True):
            if isinstance(memory, nn.Conv2d) and isinstance(query, nn.Conv2d):
                memory.weight[:, : query.in_channels] = query.weight
        self.kv_q_f16.key_proj.weight *= _KEY_GAIN
        self.kv_m_f16.key_proj.weight.copy_(self.kv_q_f16.key_proj.weight)

    def train(self, mode: bool = True) -> Self:
        """Switch to training; batch norm stays in evaluation mode for good, only its scale and shift learn.

        Its statistics would come from very few clips, and differ between the images and masks of a clip's frames;
        the published network was trained like this.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def memorize(self, frame: Tensor, masks: Tensor) -> Memory:
        """The memory (T = 1) of a frame [B,3,H,W] and its K objects' masks [B,K,H,W] (0..1, may be soft).

        Every object is seen beside the sum of the other objects' masks.
        """
        _check_multiple_of_16(frame)
        B, K = masks.shape[:2]
        other_objects = 1 - torch.eye(K, dtype=masks.dtype, device=masks.device)
        others = (other_objects @ masks.flatten(2)).view_as(masks)
        images = frame.unsqueeze(1).expand(-1, K, -1, -1, -1)
        inputs = torch.cat([images, masks.unsqueeze(2), others.unsqueeze(2)], dim=2)
        key, value = self.kv_m_f16(self.mask_rgb_encoder(inputs.flatten(0, 1))[-1])
        return Memory(_rows(key, B, K), _rows(value, B, K))

    def query(self, frame: Tensor) -> Query:
        """What segmenting a frame [B,3,H,W] needs of it, for any objects and any memory."""
        _check_multiple_of_16(frame)
        features_4, features_8, features_16 = self.rgb_encoder(frame)
        key, value = self.kv_q_f16(features_16)
        return Query(key, value, self.decoder.up_16_8.skip(features_8), self.decoder.up_8_4.skip(features_4))

    def segment(self, query: Query, memory: Memory, top_k: int | None = None) -> Tensor:
        """Probability of each of the memory's K objects, each for itself (not aggregated): [B,K,H,W].

        ``top_k`` as in :func:`mivos_models.memory.read`; training uses None.
        """
        readout = read(memory, query.key, top_k)
        B, K = readout.shape[:2]
        value = query.value.unsqueeze(1).expand(-1, K, -1, -1, -1)
        features = torch.cat([readout, value], dim=2).flatten(0, 1)
        logits = self.decoder(features, query.skip_8, query.skip_4)
        return torch.sigmoid(logits).view(B, K, *logits.shape[2:])

    def attention(self, query: Query, memory: Memory, differences: Tensor) -> Tensor:
        """Where the memorised frame's difference maps [B,K,2,H,W] matter in the query frame: [B,K,2,H,W].

        ``memory`` holds exactly one frame, the one the differences belong to.
        """
        return transfer(memory.key, query.key, differences)


def _rows(features: Tensor, B: int, K: int) -> Tensor:
    """[B·K,C,h,w] -> [B,K,1,h,w,C], contiguous."""
    return features.permute(0, 2, 3, 1).unflatten(0, (B, K)).unsqueeze(2).contiguous()


def _check_multiple_of_16(frame: Tensor) -> None:
    if frame.shape[-2] % 16 or frame.shape[-1] % 16:
        raise ValueError(f"pad the frame to multiples of 16: it is {frame.shape[-2]}×{frame.shape[-1]}")
