"""Faults on a real Ray, with the null child in Blender's place: scenes that always fail, and nodes that are lost."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from assets.store import AssetStore
from benchmarks.farm import CHILD, dataset_of
from render.farm.layout import Resources
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
def two_nodes(monkeypatch):
    """A head and a second raylet on this machine, and the second one's process."""
    folder = short_folder() / f"ray-{os.getpid()}"
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    options = [
        "--num-cpus=2",
        f"--memory={4 * 2**30}",
        f"--object-store-memory={80 * 2**20}",
        "--include-dashboard=false",
    ]
    subprocess.run(
        [*ray, "start", "--head", "--port=6399", f"--temp-dir={folder}", "--node-ip-address=127.0.0.1", *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        before = raylets()
        subprocess.run(
            [*ray, "start", "--address=127.0.0.1:6399", "--node-ip-address=127.0.0.1", *options[:3]],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (second,) = raylets() - before
        yield "127.0.0.1:6399", second
    finally:
        subprocess.run([*ray, "stop", "--force"], check=True, stdout=subprocess.DEVNULL)


def raylets() -> set[int]:
    found = subprocess.run(["pgrep", "-x", "raylet"], capture_output=True, text=True, check=False).stdout
    return {int(pid) for pid in found.split()}


def test_a_node_that_is_lost_costs_no_video(tmp_path, two_nodes):
    address, raylet = two_nodes
    dataset = dataset_of(tmp_path / "data", 60, per_shard=10)
    killed = threading.Event()

    def kill(progress):
        if progress.videos_done >= 10 and not killed.is_set():
            os.kill(raylet, signal.SIGKILL)
            killed.set()

    resources = Resources(address=address)
    done = cluster.render_dataset(dataset, AssetStore(tmp_path / "store"), resources, kill, start=CHILD)
    assert killed.is_set() and (done.videos_done, done.quarantined, done.left) == (60, 0, 0)
    assert not verify_path(dataset.root).problems
