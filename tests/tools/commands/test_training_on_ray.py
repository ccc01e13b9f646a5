"""The `train` command in two real processes of a local Ray."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.tools.painted import painted_dataset
from tests.train import runs
from tools.commands.training import train_in_processes, train_networks
from train.settings import Recipe
from vosforge.errors import MachineError

pytestmark = pytest.mark.ray

RECIPE = Recipe(
    propagation=runs.propagation(iterations=12, workers=0, small_areas=(2, 4, 8), checkpoint_minutes=0),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(painted_dataset(tmp_path_factory.mktemp("painted") / "data").root)


def kill_one(marker: str, history: Path) -> None:
    """Kill one of the training processes whose environment has ``marker``, once the run has made two steps."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (history.exists() and history.read_text().count("\n") >= 2):
        time.sleep(0.02)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = marker.encode() in (folder / "environ").read_bytes()
            if ours and b"ray::_Process" in (folder / "cmdline").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
                return
        except OSError:
            continue


def test_two_ray_processes_follow_one(data, tmp_path, capsys):
    short = RECIPE.model_copy(update={"propagation": RECIPE.propagation.model_copy(update={"iterations": 4})})
    train_networks([data], short, tmp_path / "one", ["propagation"])
    capsys.readouterr()
    assert train_in_processes([data], short, tmp_path / "two", ["propagation"], None, None, 2)
    assert "4/4" in capsys.readouterr().out  # what process 0's console shows
    one, two = (runs.losses(tmp_path / name, "propagation") for name in ("one", "two"))
    assert len(one) == len(two) == 4
    assert np.abs(np.subtract(one, two)).max() < 1e-4


@pytest.mark.slow
def test_a_lost_ray_process_is_named_and_the_run_resumes(data, tmp_path, monkeypatch):
    monkeypatch.setenv("VOSFORGE_TEST_RUN", tmp_path.name)
    history = tmp_path / "propagation.jsonl"
    killer = threading.Thread(target=kill_one, args=(f"VOSFORGE_TEST_RUN={tmp_path.name}", history), daemon=True)
    killer.start()
    with pytest.raises(MachineError, match=r"process [01] of 2 died .*: run the same command again to resume"):
        train_in_processes([data], RECIPE, tmp_path, ["propagation"], None, None, 2)
    assert 2 <= len(history.read_text().splitlines()) < 12
    before = runs.losses(tmp_path, "propagation")
    train_networks([data], RECIPE, tmp_path, ["propagation"])  # by one process this time
    assert len(losses := runs.losses(tmp_path, "propagation")) == 12
    assert losses[: len(before) - 1] == before[:-1]  # a checkpoint may be a step behind
