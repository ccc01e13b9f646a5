"""Two real processes train what one would; of those that torchrun starts, one that is lost is named."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train import runs
from train.data.clips import ClipDataset
from train.loop import torch_device
from train.propagation import train_propagation
from train.settings import TrainSettings
from vosforge import InputError

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
STEPS = 20
SETTINGS = runs.propagation(iterations=STEPS, workers=0, checkpoint_minutes=0)


@pytest.fixture(scope="module")
def alone(videos: Any, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of one process."""
    out = tmp_path_factory.mktemp("alone")
    train_propagation(videos, SETTINGS, out)
    return runs.losses(out, "propagation")


def follow(losses: list[float], alone: list[float]) -> None:
    """Assert that both are the same training. Rounding differs by CPU and grows from step to step."""
    apart = np.abs(np.subtract(losses, alone))
    assert apart[:10].max() < 1e-4 and apart.max() < 0.02


def test_two_processes_follow_one(alone: list[float], videos: Any, tmp_path: Path) -> None:
    """Clips have one or two objects, so their matching losses need the count of all processes."""
    samples = ClipDataset(videos, SETTINGS)
    counts = [int(samples[index].present.sum()) for index in range(20)]
    assert any(sum(counts[at : at + 2]) != sum(counts[at + 2 : at + 4]) for at in range(0, 20, 4))
    assert runs.together(2, lambda: train_propagation(videos, SETTINGS, tmp_path / "two")) == [0, 0]
    follow(runs.losses(tmp_path / "two", "propagation"), alone)


def test_a_lost_process_is_named_and_the_run_resumes(alone: list[float], videos: Any, tmp_path: Path) -> None:
    out = tmp_path / "two"
    process = runs.started(SETTINGS, out, *TORCHRUN)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 4:
            os.kill(int((tmp_path / "two.1").read_text()), signal.SIGKILL)
            break
    _, errors = process.communicate()
    told = [line for line in errors.splitlines() if "vosforge:" in line]
    assert process.returncode != 0
    assert told == [
        "vosforge: process 1 of 2 died (killed, out of memory, or its machine is gone): run the same command again to "
        "resume"
    ]
    assert 4 <= len(runs.losses(out, "propagation")) < STEPS
    train_propagation(videos, SETTINGS, out, basis=SETTINGS.model_dump_json())  # by one process this time
    follow(runs.losses(out, "propagation"), alone)


def test_a_batch_in_parts_gives_the_same_losses(alone: list[float], videos: Any, tmp_path: Path) -> None:
    train_propagation(videos, SETTINGS.model_copy(update={"accumulation": 2}), tmp_path)
    follow(runs.losses(tmp_path, "propagation"), alone)


def test_a_batch_that_cannot_be_shared_is_named(videos: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"batch of 4 does not divide into 3 parts .* choose a multiple of 3"):
        train_propagation(videos, SETTINGS.model_copy(update={"accumulation": 3}), tmp_path)


def test_workers_from_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.settings.cores", lambda: 64)
    assert [TrainSettings().num_workers(processes) for processes in (1, 8)] == [16, 7]
    assert TrainSettings(keep_in_memory=True).num_workers() == 0
    assert TrainSettings(workers=3).num_workers(8) == 3
    assert torch_device("cpu").type == "cpu"
