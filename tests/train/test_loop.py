"""Ways to compute the same steps faster."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mivos_models import SmallPropagation, load_propagation
from tests.train import runs
from train.loop import rates
from train.propagation import train_propagation


def test_channels_last_gives_the_same_losses(videos: Any, tmp_path: Path) -> None:
    for name, change in (("first", {}), ("last", {"channels_last": True})):
        train_propagation(videos, runs.propagation(iterations=4, workers=0, **change), tmp_path / name)
    found = [runs.losses(tmp_path / name, "propagation") for name in ("first", "last")]
    assert np.allclose(*found, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("change", [{"amp": "float16"}, {"amp": "bfloat16", "channels_last": True}, {"compile": True}])
def test_mixed_precision_on_a_gpu(videos: Any, tmp_path: Path, change: dict[str, Any]) -> None:
    """It learns, and resumes from its checkpoint."""
    plain = runs.propagation(iterations=40, workers=0, device="cuda", batch_norm="batch", checkpoint_minutes=0)
    fast = plain.model_copy(update=change)
    basis = fast.model_dump_json()
    for name, settings in (("plain", plain), ("fast", fast)):
        train_propagation(videos, settings, tmp_path / name, basis=basis)
    a, b = (runs.losses(tmp_path / name, "propagation") for name in ("plain", "fast"))
    assert b[0] == pytest.approx(a[0], rel=0.05) and np.mean(b[-10:]) < np.mean(b[:10])
    held = torch.load(tmp_path / "fast/propagation.checkpoint.pth", weights_only=True)
    torch.save({**held, "finished": False}, tmp_path / "fast/propagation.checkpoint.pth")
    train_propagation(videos, fast, tmp_path / "fast", basis=basis)
    assert all(math.isfinite(loss) for loss in runs.losses(tmp_path / "fast", "propagation"))


def test_a_trunk_has_its_own_learning_rate() -> None:
    network = SmallPropagation()
    settings = runs.propagation(network="small", lr=0.5, trunk_lr=0.1)
    others, trunk = rates(network, settings)
    assert (others["lr"], trunk["lr"]) == (0.5, 0.05)
    assert {id(each) for each in trunk["params"]} == {id(each) for each in network.key_encoder.parameters()}
    assert len(others["params"]) + len(trunk["params"]) == len(list(network.parameters()))
    assert [len(group["params"]) for group in rates(network, runs.propagation(network="small"))] == [
        len(list(network.parameters()))
    ]


def test_averaged_weights_are_those_of_the_formula_and_resume(videos: Any, tmp_path: Path) -> None:
    small = runs.propagation(network="small", iterations=4, workers=0, average=0.7, keep_every=1)
    last = small.model_copy(update={"average": 0.0})
    train_propagation(videos, last, tmp_path / "last")
    train_propagation(videos, small, tmp_path / "averaged")
    assert runs.losses(tmp_path / "last", "propagation") == runs.losses(tmp_path / "averaged", "propagation")
    name = "decoder.pred.weight"
    states = [torch.load(tmp_path / f"last/propagation.step{n}.pth", weights_only=True)[name] for n in range(1, 5)]
    expected = states[0]
    for state in states[1:]:
        expected = 0.7 * expected + 0.3 * state
    found = torch.load(tmp_path / "averaged/propagation.pth", weights_only=True)[name]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert isinstance(load_propagation(tmp_path / "averaged/propagation.pth"), SmallPropagation)

    class StoppedError(Exception):
        pass

    def stop(step: int, _total: int, _loss: float) -> None:
        if step == 2:
            raise StoppedError

    resumed = small.model_copy(update={"checkpoint_minutes": 0.0})
    with pytest.raises(StoppedError):
        train_propagation(videos, resumed, tmp_path / "resumed", stop, basis="{}")
    train_propagation(videos, resumed, tmp_path / "resumed", basis="{}")
    again = torch.load(tmp_path / "resumed/propagation.pth", weights_only=True)
    whole = torch.load(tmp_path / "averaged/propagation.pth", weights_only=True)
    assert all(torch.equal(again[key], value) for key, value in whole.items())
