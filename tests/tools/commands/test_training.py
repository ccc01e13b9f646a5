"""The `train` command on a painted data set: what it reuses, resumes and refuses, and its stages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tools.commands.training
from mivos_models import load_network
from tests.tools.painted import painted_dataset
from tests.train import runs
from tools.commands.training import train_networks
from train.settings import FusionSettings, PropagationSettings, Recipe, Stage
from vosforge import InputError
from vosforge.config import parsed_settings, read_config

S2M = runs.s2m(iterations=3, workers=0, min_side=4, checkpoint_minutes=0)
PROPAGATION = runs.propagation(iterations=1, workers=0, batch=2, small_areas=(2, 4, 8))
FUSION = FusionSettings(
    **{**runs.TINY, "iterations": 1}, augmentation=runs.crop(64), batch=2, workers=0, references=2, min_pixels=5
)
RECIPE = Recipe(s2m=S2M, propagation=PROPAGATION, fusion=FUSION)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painted_dataset(tmp_path_factory.mktemp("painted") / "data").root


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def equal(first: Path, second: Path, *but: str) -> bool:
    one, two = weights(first), weights(second)
    return all(torch.equal(one[key], two[key]) for key in one if key not in but)


def interrupting(step: int) -> Callable[[Any], Callable[[int, int, float], None]]:
    def on_step(done: int, _total: int, _loss: float) -> None:
        if done == step:
            raise KeyboardInterrupt

    return lambda _bar: on_step


def test_the_same_command_resumes_and_then_reuses(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train_networks([str(data)], RECIPE, tmp_path / "whole", ["s2m"]) == {"s2m": False}
    out = tmp_path / "interrupted"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tools.commands.training, "_losses_on", interrupting(2))
        train_networks([str(data)], RECIPE, out, ["s2m"])
    faster = RECIPE.model_copy(update={"s2m": S2M.model_copy(update={"lr": 1.0})})
    before = (out / "s2m.checkpoint.pth").read_bytes()
    with pytest.raises(InputError, match=r"s2m\.checkpoint\.pth is of an unfinished run .*\(changed: lr\)"):
        train_networks([str(data)], faster, out, ["s2m"])
    assert (out / "s2m.checkpoint.pth").read_bytes() == before
    assert train_networks([str(data)], RECIPE, out, ["s2m"]) == {"s2m": False}
    assert runs.losses(out, "s2m") == runs.losses(tmp_path / "whole", "s2m")
    assert equal(out / "s2m.pth", tmp_path / "whole/s2m.pth")

    assert train_networks([str(data)], RECIPE, out, ["s2m"]) == {"s2m": True}
    note = (out / "s2m.basis").read_text()
    assert '"workers":0' in note
    other_workers = RECIPE.model_copy(update={"s2m": S2M.model_copy(update={"workers": None})})
    assert train_networks([str(data)], other_workers, out, ["s2m"]) == {"s2m": True}  # which no network depends on
    assert train_networks([str(data)], faster, out, ["s2m"]) == {"s2m": False}  # a finished run is none to resume
    assert runs.losses(out, "s2m") != runs.losses(tmp_path / "whole", "s2m")


def test_stages_each_start_from_the_one_before(data: Path, tmp_path: Path) -> None:
    stills = PROPAGATION.model_copy(update={"num_objects": 1, "seed": 1})
    recipe = RECIPE.model_copy(
        update={
            "stages": {
                "stills": Stage(propagation=stills),
                "renders": Stage(data=str(data), propagation=PROPAGATION, fusion=FUSION),
            },
            "propagation": PROPAGATION.model_copy(update={"fresh_others": True}),
        }
    )
    with pytest.raises(InputError, match=r"stage 'renders' starts from .*stills/propagation\.pth, which is missing"):
        train_networks([str(data)], recipe, tmp_path, ["propagation"], "renders")
    with pytest.raises(InputError, match="holds no propagation network"):
        train_networks([str(data)], recipe, tmp_path, ["fusion"], "renders")
    assert train_networks([str(data)], recipe, tmp_path, ["propagation", "fusion"]) == {
        "propagation": False,
        "fusion": False,
    }
    assert equal(tmp_path / "stills/propagation.pth", tmp_path / "renders/propagation_init.pth")
    conv = "mask_rgb_encoder.conv1.weight"
    before, start = tmp_path / "renders/propagation.pth", tmp_path / "propagation_init.pth"
    assert equal(before, start, conv)
    assert torch.equal(weights(before)[conv][:, :4], weights(start)[conv][:, :4])
    assert not torch.equal(weights(before)[conv][:, 4], weights(start)[conv][:, 4])
    assert equal(tmp_path / "renders/fusion.pth", tmp_path / "fusion_init.pth")
    assert not (tmp_path / "stills/fusion.pth").exists()
    load_network("fusion", tmp_path / "fusion.pth")

    assert train_networks([str(data)], recipe, tmp_path, ["propagation", "fusion"]) == {
        "propagation": True,
        "fusion": True,
    }
    (tmp_path / "renders/propagation.basis").unlink()  # a stage that changes changes those after it
    renders = recipe.stages["renders"].model_copy(update={"propagation": stills})
    changed = recipe.model_copy(update={"stages": {**recipe.stages, "renders": renders}})
    assert train_networks([str(data)], changed, tmp_path, ["propagation"], "stills") == {"propagation": True}
    assert train_networks([str(data)], changed, tmp_path, ["propagation"], "renders") == {"propagation": False}
    assert train_networks([str(data)], changed, tmp_path, ["propagation"], "main") == {"propagation": False}
    with pytest.raises(InputError, match="unknown stage 'mian'; known: stills, renders, main"):
        train_networks([str(data)], recipe, tmp_path, ["propagation"], "mian")


def test_stages_are_settings(tmp_path: Path) -> None:
    assert "stages" not in Recipe().model_dump()
    (tmp_path / "recipe.yaml").write_text("stages: {stills: {data: stills, propagation: {batch: 14, num_objects: 1}}}")
    recipe = read_config(Recipe, tmp_path / "recipe.yaml", parsed_settings(["stages.stills.propagation.lr=1e-4"]))
    assert recipe.stages["stills"].propagation == PropagationSettings(batch=14, num_objects=1, lr=1e-4)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    with pytest.raises(ValueError, match="the stage 'main' is the last"):
        Recipe(stages={"main": Stage()})
