"""The small networks, for CPUs: propagation in STCN's form and S2M in DeepLabV3+'s, on a MobileNetV2 trunk.

Beside STCN's read of the whole memory, the propagation network reads the newest frame near each cell, like the
short-term attention of AOT (Yang et al., NeurIPS 2021): what is near and alike is the same object more often than what
is only alike.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

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
HINTS = 3
"""What S2M sees beside the frame: the current mask, positive and negative strokes."""
REACH = 8
"""Cells over which nearness to a stroke falls by e."""


class SmallValueEncoder(nn.Module):
    """Encodes frame and masks by a few convolutions, joined with the trunk's features.

    ``in_channels``: of frame and masks together; ``trunk_channels``: of the trunk's features.
    """

    def __init__(self, in_channels: int = 5, trunk_channels: int = CHANNELS[-1]) -> None:
        super().__init__()
        channels = (in_channels, 24, 32, 64, 96)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.ReLU(inplace=True))
            for before, after in itertools.pairwise(channels)
        )
        joined = channels[-1] + trunk_channels
        self.join = nn.Sequential(
            nn.Conv2d(joined, VALUE_CHANNELS, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(VALUE_CHANNELS, VALUE_CHANNELS, 3, padding=1),
        )

    def forward(self, images: Tensor, features: Tensor) -> Tensor:
        """images: [B·K,in_channels,H,W]; features: [B,trunk_channels,h,w] -> [B·K,128,h,w]."""
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
    """S2M on the MobileNetV2 trunk, with output stride 16.

    The trunk sees the frame alone, as ImageNet taught it. The current mask and the strokes join its features, together
    with how much each cell looks like the cells under a stroke, and how near it is to them: one stroke then tells of
    the whole object, however large. It sees frames as large as those it was trained on: in larger ones it finds parts
    instead of objects.
    """

    short_side = 256
    looks_again = True  # of one click, the mean IoU on held-out renders rises from 57 to 61; of scribbles it stays
    keeps_the_rest = True

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.backbone = MobileNetV2(deep=True)
        self.value_encoder = SmallValueEncoder(6, DEEPEST_CHANNELS)
        self.key_proj = nn.Conv2d(DEEPEST_CHANNELS, KEY_CHANNELS, 1)
        nn.init.orthogonal_(self.key_proj.weight)
        self.classifier = Head(CHANNELS[0] + HINTS, DEEPEST_CHANNELS + VALUE_CHANNELS + 2 * HINTS, S2M_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """As in the base class."""
        features = self.backbone(x[:, :3])
        low, deepest = features[0], features[-1]
        hints = x[:, 3:]
        stride_4 = functional.adaptive_avg_pool2d(hints, low.shape[2:])
        stride_16 = functional.adaptive_max_pool2d(hints, deepest.shape[2:])
        alike, near = likeness(self.key_proj(deepest), stride_16), nearness(stride_16)
        joined = torch.cat([deepest, self.value_encoder(x, deepest), alike, near], dim=1)
        logits = self.classifier(torch.cat([low, stride_4], dim=1), joined)
        return functional.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)


def likeness(key: Tensor, hints: Tensor) -> Tensor:
    """How much each cell looks like the most similar cell that a hint marks, from -1 to 1; 0 if it marks none.

    key: [B,Ck,h,w]; hints: [B,N,h,w], 0 or 1 -> [B,N,h,w].
    """
    flat = functional.normalize(key.flatten(2), dim=1)
    similarity = (flat.transpose(1, 2) @ flat).unsqueeze(1)
    marked = hints.flatten(2).unsqueeze(2) > 0
    best = similarity.masked_fill(~marked, -1).amax(dim=3)
    return (best * marked.any(dim=3)).view_as(hints)


def nearness(hints: Tensor) -> Tensor:
    """How near each cell is to the nearest cell that a hint marks: 1 there, less by e each 8 cells; 0 if none.

    hints: [B,N,h,w], 0 or 1 -> [B,N,h,w].
    """
    h, w = hints.shape[2:]
    places = torch.cartesian_prod(torch.arange(h), torch.arange(w)).to(hints)
    marked = hints.flatten(2).unsqueeze(2) > 0
    falling = torch.exp(-torch.cdist(places, places) / REACH)
    return falling.masked_fill(~marked, 0).amax(dim=3).view_as(hints)
