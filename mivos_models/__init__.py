"""MiVOS's three networks and the interactive runner (Cheng, Tai, Tang: Modular Interactive VOS, CVPR 2021).

STCN (Cheng, Tai, Tang, NeurIPS 2021) can replace the propagation network, and small networks for CPUs all three.
"""

from mivos_models.networks.aggregate import aggregate, aggregate_logits
from mivos_models.networks.checkpoints import load_network, load_propagation, save_network
from mivos_models.networks.fusion import Fusion, difference_maps
from mivos_models.networks.imagenet import load_imagenet
from mivos_models.networks.images import Padding, normalise, normalise_planes
from mivos_models.networks.memory import Memory, affinity, join, proximity, read
from mivos_models.networks.propagation import Propagation
from mivos_models.networks.s2m import S2M
from mivos_models.networks.shipped import shipped_networks
from mivos_models.networks.small import SmallPropagation, SmallS2M
from mivos_models.networks.spacetime import Query, SpaceTimeNetwork
from mivos_models.networks.stcn import STCN
from mivos_models.runner.runner import InteractiveRunner
from mivos_models.runner.scribbles import rasterise
from mivos_models.runner.semi_supervised import propagate

__all__ = [
    "S2M",
    "STCN",
    "Fusion",
    "InteractiveRunner",
    "Memory",
    "Padding",
    "Propagation",
    "Query",
    "SmallPropagation",
    "SmallS2M",
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
    "shipped_networks",
]
