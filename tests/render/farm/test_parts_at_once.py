"""Parts of a data set rendered at once by real processes, which are killed, beside a reader."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from render.farm.parts import Part, missing_parts
from tests.render.farm.null_runs import CONFIG, null_dataset, render_null
from vosforge.files import UNFINISHED
from vosforge.processes import TERMINATED
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet
from vosforge.videos.manifest import MANIFEST, PIECES, has_manifest

PARTS = 4
KILLS = 3


def sealed(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (*root.glob("shards/*"), root / MANIFEST)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    """The shards and the manifest of one run that is left alone."""
    dataset = null_dataset(tmp_path_factory.mktemp("undisturbed") / "data")
    assert render_null(dataset).videos_done == CONFIG.videos
    return sealed(dataset.root)


def started(root: Path, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.render.farm.null_runs", str(root), f"{number}/{PARTS}"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def missing(root: Path, number: int) -> int:
    return len(null_dataset(root, Part(number, PARTS)).missing())


def wait_until_missing(root: Path, number: int, run: subprocess.Popen[str], count: int, seen: list[int]) -> None:
    """Wait until part ``number`` lacks at most so many videos, and read the data set meanwhile."""
    deadline = time.monotonic() + 120
    while missing(root, number) > count:
        assert run.poll() is None, run.stderr.read()
        assert time.monotonic() < deadline
        if has_manifest(root):
            seen.append(len(ShardSet(root).videos))
        time.sleep(0.002)


def test_killed_parts_that_start_again_leave_what_one_run_leaves(tmp_path, undisturbed):
    root, rng = tmp_path / "data", rng_for("parts at once")
    null_dataset(root)  # prepares it
    runs = {number: started(root, number) for number in range(1, PARTS + 1)}
    seen: list[int] = []
    killed = 0
    try:
        for _ in range(KILLS):
            number = int(rng.integers(1, PARTS + 1))
            left = missing(root, number)
            if not left:
                continue
            wait_until_missing(root, number, runs[number], int(rng.integers(left)), seen)
            time.sleep(float(rng.uniform(0, 0.05)))
            runs[number].send_signal(signal.SIGKILL)
            killed += runs[number].wait() == -signal.SIGKILL
            runs[number].stderr.close()
            runs[number] = started(root, number)
        for run in runs.values():
            _, told = run.communicate(timeout=120)
            assert run.returncode == 0, told
    finally:
        for run in runs.values():
            run.kill()
    assert killed and seen == sorted(seen) and len(set(seen)) > 2
    assert missing_parts(root, PARTS) == "" and len(ShardSet(root).videos) == CONFIG.videos
    assert len(list(root.glob(PIECES))) == PARTS and not (root / MANIFEST).exists()
    assert not list(root.rglob(f"{UNFINISHED}*"))
    render_null(null_dataset(root))  # which has nothing to render, and folds the pieces
    assert sealed(root) == undisturbed
    assert not list(root.glob(PIECES))


def test_the_same_part_is_not_rendered_twice_at_once(tmp_path):
    root = tmp_path / "data"
    with null_dataset(root, Part(2, PARTS)).writing():
        run = started(root, 2)
        _, told = run.communicate(timeout=60)
        assert run.returncode and "BusyError: another process is rendering into" in told
        run = started(root, 1)
        _, told = run.communicate(timeout=60)
        assert run.returncode == 0, told
    assert missing_parts(root, PARTS) == "2-4"


def test_a_terminated_part_ends_at_once_and_goes_on_when_it_is_started_again(tmp_path, undisturbed):
    root = tmp_path / "data"
    null_dataset(root)
    run, left = started(root, 1), missing(root, 1)
    wait_until_missing(root, 1, run, left - 2, [])
    run.terminate()
    _, told = run.communicate(timeout=30)
    assert run.returncode == TERMINATED, told
    with null_dataset(root, Part(1, PARTS)).writing():
        assert 0 < missing(root, 1) < left and not list(root.rglob(f"{UNFINISHED}*"))
    assert started(root, 1).wait(60) == 0
    found = {path.name: path.read_bytes() for path in root.glob("shards/*")}
    assert found == {name: undisturbed[name] for name in ("shard-00000.h5", "shard-00004.h5", "shard-00008.h5")}
