"""The propagation network: carries object masks from memorised frames to other frames of a video.

The space-time memory network (Oh et al., ICCV 2019) in the variant that MiVOS publishes.
"""

import torch
from torch import Tensor, nn

from mivos_models.networks.decoder import Decoder
from mivos_models.networks.memory import Memory, affinity
from mivos_models.networks.resnet import Depth, ResNet, scaled
from mivos_models.networks.spacetime import Query, SpaceTimeNetwork, check_multiple_of_16, rows, with_masks


class KeyValue(nn.Module):
    """Projects features [B,C,h,w] to a key [B,Ck,h,w] and a value [B,Cv,h,w]."""

    def __init__(self, channels: int, key_channels: int, value_channels: int):
        super().__init__()
        self.key_proj = nn.Conv2d(channels, key_channels, 3, padding=1)
        self.val_proj = nn.Conv2d(channels, value_channels, 3, padding=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value of each grid cell."""
        return self.key_proj(features), self.val_proj(features)


_KEY_GAIN = 4.0


class Propagation(SpaceTimeNetwork):
    """The propagation network with separate keys and values per object.

    The published weights are ``Propagation(50, 1.0)``. Smaller networks: ``depth`` 18, and ``width`` (a multiple of
    1/8) to scale all channel counts.
    """

    published_top_k = 50
    keeps_previous = True
    affinity = staticmethod(affinity)

    def __init__(self, depth: Depth = 50, width: float = 1.0):
        super().__init__()
        self.mask_rgb_encoder = ResNet(depth, width, 5, conv_bias=True)
        self.rgb_encoder = ResNet(depth, width, 3, ("res2", "layer2", "layer3"))
        channels_4, channels_8, channels_16 = self.rgb_encoder.channels
        key_channels, value_channels = scaled(128, width), scaled(512, width)
        self.kv_m_f16 = KeyValue(channels_16, key_channels, value_channels)
        self.kv_q_f16 = KeyValue(channels_16, key_channels, value_channels)
        self.decoder = Decoder(2 * value_channels, (channels_4, channels_8), width, refine_skip=True)
        self._see_alike()
        self.train(self.training)  # freezes batch norm at once

    @torch.no_grad()
    def _see_alike(self) -> None:
        """Initialise memory and query encoders alike, with keys that discriminate between places.

        Otherwise matching places have unrelated keys, every read averages the whole memory, and training from random
        weights must first discover matching.
        """
        for memory, query in zip(self.mask_rgb_encoder.modules(), self.rgb_encoder.modules(), strict=True):
            if isinstance(memory, nn.Conv2d) and isinstance(query, nn.Conv2d):
                memory.weight[:, : query.in_channels] = query.weight
        self.kv_q_f16.key_proj.weight *= _KEY_GAIN
        self.kv_m_f16.key_proj.weight.copy_(self.kv_q_f16.key_proj.weight)

    def memorize(self, frame: Tensor, masks: Tensor, query: Query | None = None) -> Memory:
        """As in the base class, from the frame alone. key: [B,K,1,h,w,Ck]; value: [B,K,1,h,w,Cv]."""
        check_multiple_of_16(frame)
        key, value = self.kv_m_f16(self.mask_rgb_encoder(with_masks(frame, masks))[-1])
        return Memory(rows(key, len(frame)), rows(value, len(frame)))

    def query(self, frame: Tensor) -> Query:
        """As in the base class."""
        check_multiple_of_16(frame)
        features_4, features_8, features_16 = self.rgb_encoder(frame)
        key, value = self.kv_q_f16(features_16)
        skip_8, skip_4 = self.decoder.up_16_8.skip(features_8), self.decoder.up_8_4.skip(features_4)
        return Query(key, value, skip_8, skip_4, features=key.new_empty(len(key), 0, *key.shape[2:]))
