"""The small networks, for CPUs: propagation in STCN's form and S2M in DeepLabV3+'s, on a MobileNetV2 trunk.

Beside STCN's read of the whole memory, the propagation network reads the newest frame near each cell, like the
short-term attention of AOT (Yang et al., NeurIPS 2021): what is near and alike is the same object more often than what
is only alike.
"""

import itertools

import torch
from torch import Tensor, nn

from mivos_models.networks.decoder import Decoder
from mivos_models.networks.memory import Memory, proximity, read, read_near
from mivos_models.networks.mobilenet import CHANNELS, DEEPEST_CHANNELS, MobileNetV2
from mivos_models.networks.s2m import S2M, Head
from mivos_models.networks.spacetime import Query, SpaceTimeNetwork, check_multiple_of_16, rows, with_masks

KEY_CHANNELS, VALUE_CHANNELS = 64, 128
RADIUS = 7
"""How many grid cells away the newest frame is read, along each axis."""
DECODER_WIDTH = 3 / 16
"""Of the published decoder's channels: 96, then 48."""
S2M_WIDTH = 1 / 4


class SmallValueEncoder(nn.Module):
    """Encodes frame and masks by a few convolutions, joined with the trunk's features."""

    def __init__(self) -> None:
        super().__init__()
        channels = (5, 24, 32, 64, 96)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.ReLU(inplace=True))
            for before, after in itertools.pairwise(channels)
        )
        joined = channels[-1] + CHANNELS[-1]
        self.join = nn.Sequential(
            nn.Conv2d(joined, VALUE_CHANNELS, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(VALUE_CHANNELS, VALUE_CHANNELS, 3, padding=1),
        )

    def forward(self, images: Tensor, features: Tensor) -> Tensor:
        """images: [B·K,5,H,W]; features: [B,96,h,w] -> [B·K,128,h,w]."""
        for stage in self.stages:
            images = stage(images)
        features = features.repeat_interleave(len(images) // len(features), dim=0)
        return self.join(torch.cat([images, features], dim=1))


class SmallPropagation(SpaceTimeNetwork):
    """The small propagation network: one key per cell, shared by all objects, and values per object.

    Its memory's last frame is the one last memorised, which a pass keeps in memory.
    """

    published_top_k = 20
    keeps_previous = True
    affinity = staticmethod(proximity)

    def __init__(self) -> None:
        super().__init__()
        self.key_encoder = MobileNetV2()
        self.value_encoder = SmallValueEncoder()
        self.key_proj = nn.Conv2d(CHANNELS[-1], KEY_CHANNELS, 3, padding=1)
        nn.init.orthogonal_(self.key_proj.weight)
        self.decoder = Decoder(2 * VALUE_CHANNELS + CHANNELS[-1], CHANNELS[:2], DECODER_WIDTH, refine_skip=False)
        self.train(self.training)  # freezes batch norm at once

    def memorize(self, frame: Tensor, masks: Tensor, query: Query | None = None) -> Memory:
        """As in the base class, reusing ``query``. key: [B,1,1,h,w,Ck], for all objects; value: [B,K,1,h,w,Cv]."""
        query = self.query(frame) if query is None else query
        value = self.value_encoder(with_masks(frame, masks), query.value)
        return Memory(rows(query.key, len(frame)), rows(value, len(frame)))

    def query(self, frame: Tensor) -> Query:
        """As in the base class."""
        check_multiple_of_16(frame)
        features_4, features_8, features_16 = self.key_encoder(frame)
        key = self.key_proj(features_16)
        return Query(
            key,
            features_16,
            self.decoder.up_16_8.skip(features_8),
            self.decoder.up_8_4.skip(features_4),
            key.new_empty(len(key), 0, *key.shape[2:]),
        )

    def read(self, query: Query, memory: Memory, top_k: int | None) -> Tensor:
        """As in the base class, [B,K,2·Cv,h,w]: from the whole memory, and from its last frame nearby."""
        newest = Memory(*(part[:, :, -1:] for part in memory))
        near = read_near(newest, query.key, RADIUS, self.affinity)
        return torch.cat([read(memory, query.key, top_k, self.affinity), near], dim=2)


class SmallS2M(S2M):
    """S2M on the MobileNetV2 trunk, with output stride 16."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.backbone = MobileNetV2(6, deep=True)
        self.classifier = Head(CHANNELS[0], DEEPEST_CHANNELS, S2M_WIDTH)
