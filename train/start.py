"""What a network starts from: random weights, ImageNet's, or a checkpoint of an earlier stage or a published one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from mivos_models import load_imagenet
from mivos_models.networks.checkpoints import mismatches
from mivos_models.networks.mobilenet import MobileNetV2
from mivos_models.networks.resnet import ResNet
from mivos_models.networks.saved import read_tensors
from train.settings import IMAGENET, RANDOM, PropagationSettings, TrainSettings, TrunkSettings
from vosforge import InputError
from vosforge.files import at_home
from vosforge.seeding import rng_for

NetworkT = TypeVar("NetworkT", bound=nn.Module)

WRAPPERS = ("network", "model_state")
"""Where files that hold more than a network keep it: those to resume from, ours and MiVOS's; DeepLabV3+ for VOC."""
OTHERS = 4
"""The input channel of a mask encoder that has the other objects."""
LAST_OF_S2M = ("classifier.classifier.3.weight", "classifier.classifier.3.bias")


def initialised(build: Callable[[], NetworkT], settings: TrainSettings, kind: str) -> NetworkT:
    """The network ``build`` makes, started as ``settings.init`` says; what is random depends on the seed and ``kind``.

    InputError for a file that does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng_for(settings.seed, "weights", kind).integers(2**63)))
        network = build()
        if isinstance(settings, TrunkSettings) and settings.imagenet_weights is not None:
            for trunk in (module for module in network.modules() if isinstance(module, ResNet | MobileNetV2)):
                load_imagenet(trunk, settings.imagenet_weights)
        elif (path := start_file(settings)) is not None:
            load_start(network, path, isinstance(settings, PropagationSettings) and settings.fresh_others)
        return network


def start_file(settings: TrainSettings) -> Path | None:
    """The checkpoint that ``settings.init`` names, if it names one."""
    return None if settings.init in (RANDOM, IMAGENET) else at_home(settings.init)


def load_start(network: nn.Module, path: Path, fresh_others: bool = False) -> None:
    """Load a checkpoint of the same kind, depth and width; what it lacks starts orthogonal, from torch's generator.

    The first convolutions of ``network`` may have more input channels than those of the file, as between MiVOS's stages
    of one and of more objects. ``fresh_others`` has the last of them, the other objects', start so in any case. S2M may
    start from DeepLabV3+ of any number of classes, whose last layer is replaced.
    """
    state = _opened(path)
    expected = network.state_dict()
    for name, module in network.named_modules():
        weight = f"{name}.conv1.weight"
        if isinstance(module, ResNet) and weight in state:
            kept = OTHERS if fresh_others else None
            state[weight] = _widened(state[weight][:, :kept], module.conv1.weight)
    weight, bias = LAST_OF_S2M
    if {weight, bias} <= expected.keys() & state.keys() and len(state[weight]) != len(expected[weight]):
        state[weight] = nn.init.orthogonal_(torch.empty_like(expected[weight]))
        state[bias] = torch.zeros_like(expected[bias])
    if problems := mismatches(state, expected):
        raise InputError(
            f"{path} is no checkpoint that a {type(network).__name__} of these settings can start from: {problems}"
        )
    network.load_state_dict(state)


def _widened(weight: Tensor, wanted: Tensor) -> Tensor:
    """A convolution's ``weight`` with the input channels that ``wanted`` has beyond it."""
    missing = wanted.shape[1] - weight.shape[1] if weight.ndim == wanted.ndim else 0
    if missing <= 0:
        return weight
    return torch.cat([weight, nn.init.orthogonal_(weight.new_empty(len(weight), missing, *weight.shape[2:]))], dim=1)


def _opened(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}: name a file, '{RANDOM}' or '{IMAGENET}' as init")
    held = read_tensors(path, "checkpoint")
    for wrapper in WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise InputError(f"{path} holds no network: name a checkpoint as init")
    return dict(held)
