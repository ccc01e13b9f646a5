"""STCN, the alternative propagation network: keys per frame, values per object (Cheng et al., NeurIPS 2021).

The variant of MiVOS's branch MiVOS-STCN. Memory and query share one key encoder, similarity is the negative squared
distance, and one affinity matrix serves all objects.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from mivos_models.networks.decoder import Decoder, ResBlock
from mivos_models.networks.memory import Memory, proximity
from mivos_models.networks.resnet import Depth, ResNet, scaled
from mivos_models.networks.spacetime import Query, SpaceTimeNetwork, check_multiple_of_16, rows, with_masks

_REDUCTION = 16


def _named(name: str, module: nn.Module) -> nn.Sequential:
    """Nest ``module`` one level deeper, to match the published keys."""
    return nn.Sequential(OrderedDict([(name, module)]))


class ChannelGate(nn.Module):
    """Weights channels by their average and maximum."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = channels // _REDUCTION
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,h,w] -> the same shape, weighted."""
        weights = self.mlp(functional.adaptive_avg_pool2d(x, 1)) + self.mlp(functional.adaptive_max_pool2d(x, 1))
        return x * torch.sigmoid(weights)[:, :, None, None]


class SpatialGate(nn.Module):
    """Weights grid cells by the maximum and mean over channels in their neighbourhood."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = _named("conv", nn.Conv2d(2, 1, 7, padding=3))

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,h,w] -> the same shape, weighted."""
        summary = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.spatial(summary))


class BlockAttention(nn.Module):
    """CBAM: channel attention, then spatial attention (Woo et al., ECCV 2018)."""

    def __init__(self, channels: int):
        super().__init__()
        self.ChannelGate = ChannelGate(channels)
        self.SpatialGate = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,h,w] -> the same shape, weighted."""
        return self.SpatialGate(self.ChannelGate(x))


class Fuser(nn.Module):
    """Fuses an object's features with the frame's."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.block1 = ResBlock(channels, out_channels)
        self.attention = BlockAttention(out_channels)
        self.block2 = ResBlock(out_channels, out_channels)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """x: [B·K,C,h,w]; features: [B,Cf,h,w] with C + Cf = channels -> [B·K,out_channels,h,w]."""
        features = features.repeat_interleave(len(x) // len(features), dim=0)
        x = self.block1(torch.cat([x, features], dim=1))
        return self.block2(x + self.attention(x))


class ValueEncoder(ResNet):
    """A ResNet-18 on frame and masks, fused at its end with the key encoder's features."""

    def __init__(self, width: float, feature_channels: int, value_channels: int):
        super().__init__(18, width, 5, conv_bias=True)
        self.fuser = Fuser(self.channels[-1] + feature_channels, value_channels)

    def value(self, images: Tensor, features: Tensor) -> Tensor:
        """images: [B·K,5,H,W]; features: [B,feature_channels,h,w] -> [B·K,value_channels,h,w]."""
        return self.fuser(self(images)[-1], features)


class STCN(SpaceTimeNetwork):
    """The propagation network with one key per cell, shared by all objects, and values per object.

    The published weights are ``STCN(50, 1.0)``. ``depth``: of the key encoder (the value encoder always has 18);
    ``width``: as in Propagation.
    """

    published_top_k = 20
    keeps_previous = False
    affinity = staticmethod(proximity)

    def __init__(self, depth: Depth = 50, width: float = 1.0):
        super().__init__()
        self.key_encoder = ResNet(depth, width, 3, ("res2", "layer2", "layer3"))
        channels_4, channels_8, channels_16 = self.key_encoder.channels
        value_channels = scaled(512, width)
        self.value_encoder = ValueEncoder(width, channels_16, value_channels)
        projection = nn.Conv2d(channels_16, scaled(64, width), 3, padding=1)
        nn.init.orthogonal_(projection.weight)
        self.key_proj = _named("key_proj", projection)
        self.key_comp = nn.Conv2d(channels_16, value_channels, 3, padding=1)
        self.decoder = Decoder(2 * value_channels, (channels_4, channels_8), width, refine_skip=False)
        self.train(self.training)  # freezes batch norm at once

    def memorize(self, frame: Tensor, masks: Tensor, query: Query | None = None) -> Memory:
        """As in the base class, reusing ``query``. key: [B,1,1,h,w,Ck], for all objects; value: [B,K,1,h,w,Cv]."""
        check_multiple_of_16(frame)
        if query is None:
            features = self.key_encoder(frame)[-1]
            key = self.key_proj(features)
        else:
            features, key = query.features, query.key
        value = self.value_encoder.value(with_masks(frame, masks), features)
        return Memory(rows(key, len(frame)), rows(value, len(frame)))

    def query(self, frame: Tensor) -> Query:
        """As in the base class."""
        check_multiple_of_16(frame)
        features_4, features_8, features_16 = self.key_encoder(frame)
        return Query(
            self.key_proj(features_16),
            self.key_comp(features_16),
            self.decoder.up_16_8.skip(features_8),
            self.decoder.up_8_4.skip(features_4),
            features_16,
        )
