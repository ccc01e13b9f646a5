"""ImageNet weights for the networks' trunks, from torchvision or a file."""

import pickle
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, ResNet18_Weights, ResNet50_Weights, WeightsEnum

from mivos_models.networks.checkpoints import mismatches, read_state
from mivos_models.networks.mobilenet import MobileNetV2
from mivos_models.networks.resnet import ResNet
from vosforge import InputError

_RESNETS: dict[int, type[WeightsEnum]] = {18: ResNet18_Weights, 50: ResNet50_Weights}


def load_imagenet(trunk: ResNet | MobileNetV2, weights: WeightsEnum | Path | str = "IMAGENET1K_V1") -> None:
    """Load torchvision's ImageNet weights for the same network into ``trunk`` (a ResNet of width 1).

    ``weights``: a member of torchvision's enum or its name, downloaded once into torch's cache; or a state dict file.
    As in MiVOS, extra input channels start orthogonal (from torch's generator). Biases, which torchvision's
    convolutions lack, start at 0. Raises InputError, leaving ``trunk`` unchanged, if the weights are unavailable or do
    not match.
    """
    if isinstance(trunk, MobileNetV2):
        _load_mobilenet(trunk, weights)
        return
    if trunk.conv1.out_channels != 64:
        raise InputError(f"ImageNet weights need a network of width 1, not {trunk.conv1.out_channels / 64:g}")
    where, state = _opened(weights, _RESNETS[trunk.depth])
    with torch.device("meta"):
        expected = _learnt(ResNet(trunk.depth, 1.0, 3, trunk.stage_names).state_dict())
    names = {f"layer{number}": name for number, name in enumerate(trunk.stage_names, start=1)}
    names |= {"conv1": "conv1", "bn1": "bn1"}
    parts = ((*key.partition("."), value) for key, value in _learnt(state).items())
    found = {names[part] + dot + rest: value for part, dot, rest, value in parts if part in names}
    if problems := mismatches(found, expected):
        raise InputError(f"{where} is not a torchvision ResNet-{trunk.depth}; {problems}")
    with torch.no_grad():
        further = trunk.conv1.weight[:, 3:]
        if further.numel():
            nn.init.orthogonal_(further)
        found["conv1.weight"] = torch.cat([found["conv1.weight"].to(further), further], dim=1)
        for part in names.values():
            for module in trunk.get_submodule(part).modules():
                if isinstance(module, nn.Conv2d) and module.bias is not None:
                    module.bias.zero_()
    trunk.load_state_dict(found, strict=False)


def _load_mobilenet(trunk: MobileNetV2, weights: WeightsEnum | Path | str) -> None:
    where, state = _opened(weights, MobileNet_V2_Weights)
    state = _nested(_learnt(state))
    expected = _learnt(trunk.state_dict())
    found = {key: value for key, value in state.items() if key in expected}
    first = "features.0.0.weight"
    further = expected[first][:, 3:]
    if problems := mismatches(found, {**expected, first: expected[first][:, :3]}):
        raise InputError(f"{where} is not a torchvision MobileNetV2; {problems}")
    if further.numel():
        found[first] = torch.cat([found[first].to(further), nn.init.orthogonal_(torch.empty_like(further))], dim=1)
    trunk.load_state_dict(found, strict=False)


def _nested(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A MobileNetV2's state with the names of torchvision since 0.3, which nest each convolution with its norm.

    Before, the layers of a block were numbered in one row: convolution, norm, activation, and so on.
    """
    if "features.1.conv.0.weight" not in state:
        return dict(state)
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if len(parts) == 5 and parts[2] == "conv":
            group, place = divmod(int(parts[3]), 3)
            last = 1 if parts[1] == "1" else 2
            parts[3] = str(group + place) if group == last else f"{group}.{place}"
        renamed[".".join(parts)] = value
    return renamed


def _learnt(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without batch norm's counters, which old files lack and nothing uses."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _opened(weights: WeightsEnum | Path | str, published: type[WeightsEnum]) -> tuple[str, Mapping[str, Tensor]]:
    """The name of the weights in messages, and the weights."""
    known = published.__members__
    if isinstance(weights, str) and weights in known:
        weights = known[weights]
    if isinstance(weights, WeightsEnum):
        return str(weights), _downloaded(weights)
    if not Path(weights).exists():
        raise InputError(f"there is no file {weights}; name one, or one of torchvision's weights: {', '.join(known)}")
    return str(weights), read_state(Path(weights))


def _downloaded(weights: WeightsEnum) -> Mapping[str, Tensor]:
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise InputError(
            f"cannot load {weights.url}: {reason}; download it elsewhere into {torch.hub.get_dir()}/checkpoints, "
            "or give the path of the file"
        ) from None
