"""The recipe of the small networks, for a few steps: all of its settings together, and what comes out of them."""

from pathlib import Path
from typing import Any

import torch

from mivos_models import InteractiveRunner, SmallPropagation, SmallS2M
from train.evaluation.interactive import Networks
from train.fusion import train_fusion
from train.propagation import train_propagation
from train.recipes import recipe
from train.s2m import train_s2m

FEW: dict[str, Any] = {"init": "random", "iterations": 2, "workers": 0}


def test_its_networks_segment_a_video(videos: Any, tmp_path: Path) -> None:
    small = recipe("small")
    propagation = small.propagation.model_copy(
        update={
            **FEW,
            "iterations": 4,
            "batch": 1,
            "stages": tuple(
                stage.model_copy(update={"geometry": stage.geometry.model_copy(update={"crop": 64, "short_side": 64})})
                for stage in small.propagation.stages
            ),
        }
    )
    s2m, fusion = (each.model_copy(update={**FEW, "batch": 2}) for each in (small.s2m, small.fusion))
    train_propagation(videos, propagation, tmp_path)
    train_s2m(videos, s2m.model_copy(update={"min_side": 5}), tmp_path)
    train_fusion(videos, fusion.model_copy(update={"num_videos": 2, "min_pixels": 1}), tmp_path)
    networks = Networks.load(tmp_path)
    assert isinstance(networks.propagation, SmallPropagation) and isinstance(networks.s2m, SmallS2M)
    frames = videos[0].frames()
    runner = InteractiveRunner(networks.propagation, frames, 1, s2m=networks.s2m, fusion=networks.fusion)
    runner.click(0, 20, 20, 1)
    masks = runner.interact(0, videos[0].masks()[0] == 1)
    runner.interact(5, videos[0].masks()[5] == 1)
    assert masks.shape == frames.shape[:3]
    before, after = (torch.load(tmp_path / name, weights_only=True) for name in ("s2m_init.pth", "s2m.pth"))
    assert any(not torch.equal(before[key], after[key]) for key in before)
