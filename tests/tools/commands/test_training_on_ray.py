"""The `train` command in two real processes of a local Ray."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tools.painted import painted_dataset
from tests.train import runs
from tools.commands.training import train_in_processes, train_networks
from train.settings import Recipe
from vosforge.errors import MachineError

pytestmark = pytest.mark.ray

STEPS = 12
RECIPE = Recipe(
    propagation=runs.propagation(iterations=STEPS, workers=0, small_areas=(2, 4, 8), checkpoint_minutes=0),
)


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


def test_two_ray_processes_follow_one_and_resume_when_one_is_lost(tmp_path, monkeypatch, capsys):
    data, out = str(painted_dataset(tmp_path / "data").root), tmp_path / "two"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_networks([data], RECIPE, tmp_path / "one", ["propagation"])
    torch.set_num_threads(threads)

    monkeypatch.setenv("VOSFORGE_TEST_RUN", tmp_path.name)
    killer = threading.Thread(
        target=kill_one, args=(f"VOSFORGE_TEST_RUN={tmp_path.name}", out / "propagation.jsonl"), daemon=True
    )
    killer.start()
    with pytest.raises(MachineError, match=r"process [01] of 2 died .*: run the same command again to resume"):
        train_in_processes([data], RECIPE, out, ["propagation"], None, None, 2)
    assert 2 <= len((out / "propagation.jsonl").read_text().splitlines()) < STEPS

    capsys.readouterr()
    assert train_in_processes([data], RECIPE, out, ["propagation"], None, None, 2)
    assert f"{STEPS}/{STEPS}" in capsys.readouterr().out  # what process 0's console shows
    difference = np.subtract(runs.losses(out, "propagation"), runs.losses(tmp_path / "one", "propagation"))
    assert np.abs(difference).max() < 1e-4
