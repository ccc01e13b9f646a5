"""Faults on a real Ray, with the null child in Blender's place: scenes that always fail, and nodes that are lost."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from assets.store import AssetStore
from benchmarks.farm import CHILD, dataset_of
from benchmarks.processes import marked
from render.farm.layout import Resources
from tests.render.farm.nodes import Cluster
from tests.render.farm.test_cluster import wait_for
from tools.inspect.verification import verify_path
from vosforge.processes import short_folder
from vosforge.videos import ShardSet

pytestmark = pytest.mark.ray
cluster = pytest.importorskip("render.farm.cluster", exc_type=ImportError)


def test_scenes_that_always_fail_are_quarantined_with_their_trouble_and_the_others_are_there(tmp_path, monkeypatch):
    faults = {"1": "segfault", "5": "memory", "7": "missing", "9": "broken"}
    monkeypatch.setenv("FAULTS", json.dumps(faults))
    dataset = dataset_of(tmp_path / "data", 12, per_shard=5)
    start = "tests.render.farm.faulty_child"
    done = cluster.render_dataset(dataset, AssetStore(tmp_path / "store"), Resources(workers=3), start=start)
    assert (done.videos_done, done.quarantined, done.left) == (12, 4, 0)
    kinds = {int(row.id): row.reason.partition(": ")[0] for row in ShardSet(dataset.root).quarantined}
    assert kinds == {1: "crash", 5: "out of memory", 7: "missing asset", 9: "content"}
    assert len(ShardSet(dataset.root).videos) == 8 and not verify_path(dataset.root).problems


@pytest.fixture
def ray_cluster():
    """A head on this machine; further nodes can be added."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir=short_folder()) as folder, Cluster(Path(folder)) as nodes:
        yield nodes


@contextmanager
def farm(nodes, root, videos):
    """A farm on a cluster, or a local Ray, in a process of its own: a driver that dies takes no test with it."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.farm",
        str(root),
        f"--videos={videos}",
        "--workers=4",
        "--per-shard=10",
    ]
    run = subprocess.Popen(
        [*command, f"--address={nodes.address}"] if nodes else command,
        env={**os.environ, "VOSFORGE_TEST_RUN": root.name, **(nodes.token if nodes else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield run
    finally:
        run.kill()
        run.wait()


def finished(root):
    """How many videos are staged or sealed."""
    data = root / "data"
    return len([*data.glob("staging/0*.h5")]) + 10 * len([*data.glob("shards/shard-*.h5")])


def children(node):
    """The process ids of the node's null children."""
    return [pid for pid, command in node.processes.items() if CHILD in command]


def actors(node):
    """The process ids of the node's actors."""
    return [pid for pid, command in node.processes.items() if command.startswith("ray::_Actor")]


def check(run, root, videos):
    """The run ends well, soon, with all videos."""
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 0 and "quarantined 0, left 0" in said, said
    assert [video.id for video in ShardSet(root / "data")] == [f"{index:06d}" for index in range(videos)]
    assert not verify_path(root / "data").problems


def test_a_node_that_is_lost_costs_no_video(tmp_path, ray_cluster):
    second = ray_cluster.add()
    with farm(ray_cluster, tmp_path, 200) as run:
        assert wait_for(lambda: finished(tmp_path) >= 10 and children(second), 60), second.processes
        assert finished(tmp_path) < 150
        second.kill()
        check(run, tmp_path, 200)
    assert wait_for(lambda: not second.processes, 30), second.processes


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_a_node_that_is_lost_while_a_worker_of_it_is_replaced_costs_no_video(tmp_path, ray_cluster, seconds):
    """The replacement is not placed yet, or starts.

    From then on two of the four workers fit nowhere: those that do the work do not wait for them, until a node with
    room comes. (That a run with no worker at all ends, see `test_failures`.)
    """
    second = ray_cluster.add()
    with farm(ray_cluster, tmp_path, 200) as run:
        assert wait_for(lambda: finished(tmp_path) >= 10 and len(children(second)) == 2, 60), second.processes
        os.kill(min(actors(second)), signal.SIGKILL)
        time.sleep(seconds)
        second.kill()
        before = finished(tmp_path)
        assert wait_for(lambda: finished(tmp_path) >= before + 20, 60), before
        others = children(ray_cluster.nodes[0])
        for pid in others:
            os.kill(pid, signal.SIGSTOP)  # so that the run does not end meanwhile
        third = ray_cluster.add()
        assert wait_for(lambda: len(children(third)) == 2, 60), third.processes
        for pid in others:
            os.kill(pid, signal.SIGCONT)
        check(run, tmp_path, 200)


@pytest.mark.slow
def test_a_run_whose_only_node_is_lost_ends_and_can_be_resumed(tmp_path):
    mark = f"VOSFORGE_TEST_RUN={tmp_path.name}"
    with farm(None, tmp_path, 100) as run:
        assert wait_for(lambda: finished(tmp_path) >= 10, 60)
        (raylet,) = (pid for pid, command in marked(mark).items() if command.split()[0].endswith("/raylet"))
        for pid in (pid for pid, command in marked(mark).items() if CHILD in command):
            os.kill(pid, signal.SIGSTOP)  # Ray notices after a while, and all would be done by then
        os.kill(raylet, signal.SIGKILL)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 1 and "on this machine was killed: run the same command again" in said, said
    assert wait_for(lambda: not marked(mark), 60), marked(mark)
    with farm(None, tmp_path, 100) as run:
        check(run, tmp_path, 100)
