"""Networks from checkpoint files and back, in the layout of the published ones: bare state dicts.

Depth and width are read from the weights, so a file needs nothing beside it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor, nn

from mivos_models.networks.fusion import Fusion
from mivos_models.networks.propagation import Propagation
from mivos_models.networks.resnet import Depth
from mivos_models.networks.s2m import S2M
from mivos_models.networks.saved import read_tensors, write_tensors
from mivos_models.networks.stcn import STCN
from vosforge import InputError

_SHOWN = 3


class _Kind(NamedTuple):
    network: Callable[..., nn.Module]
    first: str  # the key whose first dimension tells the width
    channels: int  # that dimension at width 1
    bottleneck: str | None  # a key that only depth 50 has; None: the network has one depth


_KINDS = {
    "s2m": _Kind(S2M, "backbone.conv1.weight", 64, "backbone.layer1.0.conv3.weight"),
    "propagation": _Kind(Propagation, "rgb_encoder.conv1.weight", 64, "rgb_encoder.res2.0.conv3.weight"),
    "stcn": _Kind(STCN, "key_encoder.conv1.weight", 64, "key_encoder.res2.0.conv3.weight"),
    "fusion": _Kind(Fusion, "conv1.0.weight", 32, None),
}


@overload
def load_network(kind: Literal["s2m"], weights: Path | str | Mapping[str, Tensor]) -> S2M: ...
@overload
def load_network(kind: Literal["propagation"], weights: Path | str | Mapping[str, Tensor]) -> Propagation: ...
@overload
def load_network(kind: Literal["stcn"], weights: Path | str | Mapping[str, Tensor]) -> STCN: ...
@overload
def load_network(kind: Literal["fusion"], weights: Path | str | Mapping[str, Tensor]) -> Fusion: ...


def load_network(kind: str, weights: Path | str | Mapping[str, Tensor]) -> nn.Module:
    """The network of that kind ("s2m", "propagation", "stcn", "fusion") with these weights, on the CPU, in eval mode.

    ``weights``: a checkpoint file or a state dict with the published keys. Raises InputError, naming the first
    mismatches, for anything that is not exactly one such network.
    """
    if kind not in _KINDS:
        raise InputError(f"unknown network '{kind}'; choose one of {', '.join(_KINDS)}")
    return _loaded(kind, *_opened(weights))


def load_propagation(weights: Path | str | Mapping[str, Tensor]) -> Propagation | STCN:
    """The network that carries masks, whichever of the two the weights are of; see :func:`load_network`."""
    where, state = _opened(weights)
    network = _loaded("stcn" if _KINDS["stcn"].first in state else "propagation", where, state)
    assert isinstance(network, Propagation | STCN)
    return network


def save_network(network: nn.Module, path: Path) -> None:
    """Write the network's state dict (on the CPU) to ``path``, whole or not at all. Missing folders are made."""
    path = Path(path)
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    write_tensors(state, path)


def _opened(weights: Path | str | Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The weights' name for messages, and the weights."""
    if isinstance(weights, Mapping):
        return "the state dict", dict(weights)
    return str(weights), read_state(Path(weights))


def _loaded(kind: str, where: str, state: Mapping[str, Tensor]) -> nn.Module:
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        network = _build(kind, state)
    _check(kind, where, state, network.state_dict())
    network = network.to_empty(device="cpu")
    network.load_state_dict(state)
    return network.eval()


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file. Raises InputError where it cannot be read, or holds something else."""
    state = read_tensors(path, "checkpoint")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        held = f"dict with {', '.join(map(str, state))}" if isinstance(state, dict) else type(state).__name__
        raise InputError(f"{path} must hold a bare state dict (names and tensors), not a {held}")
    return state


def _build(kind: str, state: Mapping[str, Tensor]) -> nn.Module:
    network, first, channels, bottleneck = _KINDS[kind]
    width = 1.0
    if first in state and state[first].ndim == 4 and state[first].shape[0] % 8 == 0:
        width = state[first].shape[0] / channels
    depth: Depth = 50 if bottleneck in state or first not in state else 18
    return network(width) if bottleneck is None else network(depth, width)


def mismatches(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """How the names and shapes of ``state`` differ from those of ``expected``, in words; empty where they do not."""
    missing = [key for key in expected if key not in state]
    unknown = [key for key in state if key not in expected]
    shapes = [
        f"{key} is {list(state[key].shape)} instead of {list(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    return "; ".join(
        f"{what}: {len(found)} ({', '.join(found[:_SHOWN])}{', …' if len(found) > _SHOWN else ''})"
        for what, found in (("missing keys", missing), ("unknown keys", unknown), ("wrong shapes", shapes))
        if found
    )


def _check(kind: str, where: str, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    if problems := mismatches(state, expected):
        other = next((name for name, traits in _KINDS.items() if name != kind and traits.first in state), None)
        hint = f"; it looks like a network of kind '{other}'" if other else ""
        raise InputError(f"{where} does not hold one whole {kind} network{hint}; {problems}")
