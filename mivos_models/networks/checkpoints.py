"""Loads and saves networks as bare state dicts, the layout of the published checkpoints.

Depth and width are inferred from the weights, so a file needs no metadata.
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
from mivos_models.networks.small import SmallPropagation, SmallS2M
from mivos_models.networks.spacetime import SpaceTimeNetwork
from mivos_models.networks.stcn import STCN
from vosforge import InputError

_SHOWN = 3


class _Kind(NamedTuple):
    network: Callable[..., nn.Module]
    first: str  # the key whose first dimension determines the width
    channels: int  # that dimension at width 1
    bottleneck: str | None  # a key that only depth 50 has; None: the network has one depth
    small: Callable[[], nn.Module] | None = None  # the small network of this kind, if there is one,
    small_first: str | None = None  # and a key that only it has


_KINDS = {
    "s2m": _Kind(
        S2M, "backbone.conv1.weight", 64, "backbone.layer1.0.conv3.weight", SmallS2M, "backbone.features.0.0.weight"
    ),
    "propagation": _Kind(
        Propagation,
        "rgb_encoder.conv1.weight",
        64,
        "rgb_encoder.res2.0.conv3.weight",
        SmallPropagation,
        "key_encoder.features.0.0.weight",
    ),
    "stcn": _Kind(STCN, "key_encoder.conv1.weight", 64, "key_encoder.res2.0.conv3.weight"),
    "fusion": _Kind(Fusion, "conv1.0.weight", 32, None),
}


@overload
def load_network(kind: Literal["s2m"], weights: Path | str | Mapping[str, Tensor]) -> S2M: ...
@overload
def load_network(
    kind: Literal["propagation"], weights: Path | str | Mapping[str, Tensor]
) -> Propagation | SmallPropagation: ...
@overload
def load_network(kind: Literal["stcn"], weights: Path | str | Mapping[str, Tensor]) -> STCN: ...
@overload
def load_network(kind: Literal["fusion"], weights: Path | str | Mapping[str, Tensor]) -> Fusion: ...


def load_network(kind: str, weights: Path | str | Mapping[str, Tensor]) -> nn.Module:
    """Load a network of a kind ("s2m", "propagation", "stcn", "fusion") on the CPU, in eval mode.

    ``weights``: a checkpoint file or a state dict with the published keys, or those of the small network of the kind
    ("s2m", "propagation"). Raises InputError with the first mismatches if the weights do not match the kind exactly.
    """
    if kind not in _KINDS:
        raise InputError(f"unknown network '{kind}'; choose one of {', '.join(_KINDS)}")
    return _loaded(kind, *_opened(weights))


def load_propagation(weights: Path | str | Mapping[str, Tensor]) -> SpaceTimeNetwork:
    """Load any propagation network, detected from the weights; see :func:`load_network`."""
    where, state = _opened(weights)
    network = _loaded("stcn" if _KINDS["stcn"].first in state else "propagation", where, state)
    assert isinstance(network, SpaceTimeNetwork)
    return network


def save_network(network: nn.Module, path: Path) -> None:
    """Write the network's state dict (on the CPU) to ``path`` atomically, creating missing folders."""
    path = Path(path)
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    write_tensors(state, path)


def _opened(weights: Path | str | Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The name of the weights in messages, and the weights."""
    if isinstance(weights, Mapping):
        return "the state dict", dict(weights)
    return str(weights), read_state(Path(weights))


def _loaded(kind: str, where: str, state: Mapping[str, Tensor]) -> nn.Module:
    with torch.device("meta"):  # no allocation or initialisation: the weights are replaced at once
        network = _build(kind, state)
    _check(kind, where, state, network.state_dict())
    network = network.to_empty(device="cpu")
    network.load_state_dict(state)
    return network.eval()


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict. Raises InputError if the file is unreadable or holds anything else."""
    state = read_tensors(path, "checkpoint")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        held = f"dict with {', '.join(map(str, state))}" if isinstance(state, dict) else type(state).__name__
        raise InputError(f"{path} must hold a bare state dict (names and tensors), not a {held}")
    return state


def _build(kind: str, state: Mapping[str, Tensor]) -> nn.Module:
    network, first, channels, bottleneck, small, small_first = _KINDS[kind]
    if small is not None and small_first in state:
        return small()
    width = 1.0
    if first in state and state[first].ndim == 4 and state[first].shape[0] % 8 == 0:
        width = state[first].shape[0] / channels
    depth: Depth = 50 if bottleneck in state or first not in state else 18
    return network(width) if bottleneck is None else network(depth, width)


def mismatches(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Describe how the keys and shapes of ``state`` differ from ``expected``; empty if they match."""
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
        keys = {name: {traits.first, traits.small_first} for name, traits in _KINDS.items() if name != kind}
        other = next((name for name, names in keys.items() if names & state.keys()), None)
        hint = f"; it looks like a network of kind '{other}'" if other else ""
        raise InputError(f"{where} is not a complete {kind} network{hint}; {problems}")
