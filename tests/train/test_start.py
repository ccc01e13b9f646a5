"""What networks start from: checkpoints of an earlier stage, of other numbers of channels, published ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mivos_models import S2M, STCN, Fusion, Propagation, save_network
from tests.train import runs
from train.s2m import train_s2m
from train.settings import FusionSettings, S2MSettings
from train.start import initialised, load_start
from vosforge import InputError

CONV = "mask_rgb_encoder.conv1.weight"
LAST = "classifier.classifier.3"
NETWORKS: dict[str, nn.Module] = {
    "propagation": Propagation(18, 0.125),
    "stcn": STCN(18, 0.125),
    "s2m": S2M(18, 0.125),
    "fusion": Fusion(0.5),
}


def another(kind: str) -> nn.Module:
    network = NETWORKS[kind]
    return type(network)(0.5) if kind == "fusion" else type(network)(18, 0.125)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("wrapper", [None, "network"])
def test_a_checkpoint_is_loaded_whole(kind: str, wrapper: str | None, tmp_path: Path) -> None:
    """``network``: in the file that a run of ours or of MiVOS's resumes from."""
    state, path = NETWORKS[kind].state_dict(), tmp_path / "start.pth"
    torch.save(state if wrapper is None else {"it": 5, wrapper: state}, path)
    network = another(kind)
    load_start(network, path)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("kind", ["propagation", "stcn"])
def test_the_fifth_channel_is_appended_as_published(kind: str, tmp_path: Path) -> None:
    """MiVOS's networks of single objects have no channel of the others."""
    state = NETWORKS[kind].state_dict()
    conv = CONV if kind == "propagation" else "value_encoder.conv1.weight"
    torch.save({**state, conv: state[conv][:, :4]}, tmp_path / "stage0.pth")
    found = []
    for _ in range(2):
        torch.manual_seed(4)
        network = another(kind)
        load_start(network, tmp_path / "stage0.pth")
        found.append(network.state_dict()[conv])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0][:, :4], state[conv][:, :4])
    fifth = found[0][:, 4].flatten(1)  # [8, 49]: orthogonal rows
    assert torch.allclose(fifth @ fifth.T, torch.eye(8), atol=1e-5)


def test_s2m_starts_from_segmentation_of_classes(tmp_path: Path) -> None:
    state = NETWORKS["s2m"].state_dict()
    classes = {f"{LAST}.weight": torch.rand(21, 32, 1, 1), f"{LAST}.bias": torch.rand(21)}
    conv = "backbone.conv1.weight"
    torch.save({"model_state": {**state, **classes, conv: state[conv][:, :3]}}, tmp_path / "voc.pth")
    network = another("s2m")
    load_start(network, tmp_path / "voc.pth")
    found = network.state_dict()
    assert torch.equal(found[conv][:, :3], state[conv][:, :3]) and found[conv].shape[1] == 6
    assert found[f"{LAST}.weight"].norm() == pytest.approx(1) and found[f"{LAST}.bias"] == 0
    assert torch.equal(found["backbone.layer4.0.conv1.weight"], state["backbone.layer4.0.conv1.weight"])


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    for kind in ("s2m", "propagation"):
        save_network(NETWORKS[kind], tmp_path / f"{kind}.pth")
    with pytest.raises(InputError, match=r"propagation\.pth is no checkpoint that a S2M .* missing keys"):
        load_start(S2M(18, 0.125), tmp_path / "propagation.pth")
    with pytest.raises(InputError, match="wrong shapes"):
        load_start(S2M(18, 0.25), tmp_path / "s2m.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no network"):
        load_start(S2M(18, 0.125), tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"no checkpoint nowhere\.pth: name a file, 'random' or 'imagenet'"):
        initialised(lambda: S2M(18, 0.125), runs.s2m(init="nowhere.pth"), "s2m")


def test_stages_follow_each_other(videos: Any, tmp_path: Path) -> None:
    first = train_s2m(videos, runs.s2m(iterations=2, workers=0), tmp_path / "stills")
    train_s2m(videos, runs.s2m(iterations=1, workers=0, init=str(first)), tmp_path / "renders")
    before, start = (torch.load(p, weights_only=True) for p in (first, tmp_path / "renders/s2m_init.pth"))
    assert all(torch.equal(before[key], start[key]) for key in start)


def test_what_init_can_be() -> None:
    assert S2MSettings(init="imagenet").imagenet_weights == "IMAGENET1K_V1"
    assert S2MSettings(init="imagenet", imagenet="mine.pth").imagenet_weights == "mine.pth"
    assert S2MSettings(imagenet="mine.pth").imagenet_weights == "mine.pth"  # as settings stored earlier have it
    assert S2MSettings(init="s2m.pth").imagenet_weights is None
    with pytest.raises(ValueError, match="not from both"):
        S2MSettings(init="s2m.pth", imagenet="mine.pth")
    with pytest.raises(ValueError, match="imagenet needs width 1"):
        S2MSettings(init="imagenet", width=0.5)
    with pytest.raises(ValueError, match="no trunk"):
        FusionSettings(init="imagenet")
