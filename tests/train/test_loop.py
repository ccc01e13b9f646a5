"""Ways to compute the same steps faster."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.train import runs
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
