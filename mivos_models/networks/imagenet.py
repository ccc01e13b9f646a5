"""ImageNet weights for the networks' trunks, from torchvision or a file."""

import pickle
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, ResNet50_Weights, WeightsEnum

from mivos_models.networks.checkpoints import mismatches, read_state
from mivos_models.networks.resnet import ResNet
from vosforge import InputError

_WEIGHTS: dict[int, type[WeightsEnum]] = {18: ResNet18_Weights, 50: ResNet50_Weights}


def load_imagenet(trunk: ResNet, weights: WeightsEnum | Path | str = "IMAGENET1K_V1") -> None:
    """Load torchvision's ImageNet weights for the same depth into ``trunk`` (width 1).

    ``weights``: a member of torchvision's enum or its name, downloaded once into torch's cache; or a state dict file.
    As in MiVOS, extra input channels start orthogonal (from torch's generator). Biases, which torchvision's
    convolutions lack, start at 0. Raises InputError, leaving ``trunk`` unchanged, if the weights are unavailable or do
    not match.
    """
    if trunk.conv1.out_channels != 64:
        raise InputError(f"ImageNet weights need a network of width 1, not {trunk.conv1.out_channels / 64:g}")
    where, state = _opened(weights, trunk.depth)
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


def _learnt(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without batch norm's counters, which old files lack and nothing uses."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _opened(weights: WeightsEnum | Path | str, depth: int) -> tuple[str, Mapping[str, Tensor]]:
    """The name of the weights in messages, and the weights."""
    known = _WEIGHTS[depth].__members__
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
