"""Farms whose processes are killed all the time: Blender's (here the null child), Ray's actors, the driver."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from benchmarks.farm import dataset_of
from benchmarks.null_child import record_of
from benchmarks.processes import marked
from tools.inspect.verification import verify_path
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet

pytestmark = [pytest.mark.ray, pytest.mark.slow]

VIDEOS, WORKERS, KILLS = 300, 3, 50


def begun(root: Path, marker: str) -> subprocess.Popen:
    """A farm that fills ``root``; ``marker`` is in the environment of all its processes."""
    key, value = marker.split("=")
    command = [sys.executable, "-m", "benchmarks.farm", str(root), "--videos", str(VIDEOS), "--workers", str(WORKERS)]
    with (root.parent / "driver.log").open("ab") as log:
        return subprocess.Popen(command, env={**os.environ, key: value}, start_new_session=True, stdout=log, stderr=log)


def contents(root: Path) -> dict[str, bytes]:
    """The masks of all videos, as stored."""
    found = {}
    for shard in sorted((root / "data/shards").glob("*.h5")):
        with h5py.File(shard) as file:
            found |= {name: video["mask"][()].tobytes() for name, video in file["videos"].items()}
    return found


@pytest.mark.parametrize("kind", ["benchmarks.null_child", "ray::_Actor", "driver"])
def test_kills_at_random_instants_lose_nothing(tmp_path, kind):
    rng = rng_for("kills", kind)
    root, kills, marker = tmp_path / "farm", 0, f"VOSFORGE_TEST_RUN={tmp_path.name}"
    run = begun(root, marker)
    deadline = time.monotonic() + 1500
    try:
        while (code := run.poll()) != 0 or kills < KILLS:
            assert time.monotonic() < deadline, f"{kills} kills"
            assert kind == "driver" or not code, (root.parent / "driver.log").read_text()[-2000:]
            if code == 0:  # done before it was killed often enough: once more from the start
                shutil.rmtree(root)
            if code is not None:
                run = begun(root, marker)
            time.sleep(float(rng.uniform(0.05, 12.0 if kind == "driver" else 1.0)))
            if kills == KILLS:
                continue
            if kind == "driver":
                run.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
                run.wait(timeout=60)
                kills += 1
            elif victims := [pid for pid, command in marked(marker).items() if kind in command]:
                os.kill(int(rng.choice(victims)), signal.SIGKILL)
                kills += 1
    finally:
        run.kill()
    assert [video.id for video in ShardSet(root / "data")] == [f"{index:06d}" for index in range(VIDEOS)]
    assert not dataset_of(root / "data", VIDEOS).missing() and not any((root / "data/staging").iterdir())
    assert not verify_path(root / "data").problems
    assert contents(root) == {f"{index:06d}": record_of(index).mask.tobytes() for index in range(VIDEOS)}
