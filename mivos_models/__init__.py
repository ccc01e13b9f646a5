"""MiVOS's three networks and the interactive runner (Cheng, Tai, Tang: Modular Interactive VOS, CVPR 2021).

STCN (Cheng, Tai, Tang, NeurIPS 2021) can take the propagation network's place.
"""

from mivos_models.aggregate import aggregate, aggregate_logits
from mivos_models.checkpoints import load_network, load_propagation, save_network
from mivos_models.fusion import Fusion, difference_maps
from mivos_models.imagenet import load_imagenet
from mivos_models.images import Padding, normalise, normalise_planes
from mivos_models.memory import Memory, affinity, join, proximity, read
from mivos_models.propagation import Propagation
from mivos_models.runner import InteractiveRunner
from mivos_models.s2m import S2M
from mivos_models.scribbles import rasterise
from mivos_models.semi_supervised import propagate
from mivos_models.spacetime import Query, SpaceTimeNetwork
from mivos_models.stcn import STCN

__all__ = [
    "S2M",
    "STCN",
    "Fusion",
    "InteractiveRunner",
    "Memory",
    "Padding",
    "Propagation",
    "Query",
    "SpaceTimeNetwork",
    "affinity",
    "aggregate",
    "aggregate_logits",
    "difference_maps",
    "join",
    "load_imagenet",
    "load_network",
    "load_propagation",
    "normalise",
    "normalise_planes",
    "propagate",
    "proximity",
    "rasterise",
    "read",
    "save_network",
]
