"""Nodes that share no folder with the driver, each in a mount namespace of its own, and a data set on a flaky store."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import fsspec
import pytest

import render
from benchmarks.farm import CHILD
from tests.flaky_s3 import flaky_s3
from tests.render.farm.nodes import OWN_MOUNTS, Cluster, hiding
from tools.inspect.verification import verify_path
from vosforge.processes import short_folder
from vosforge.videos import ShardSet, place

pytestmark = pytest.mark.ray
cluster = pytest.importorskip("render.farm.cluster", exc_type=ImportError)

HIDDEN = [Path(str(render.__file__)).parent.parent / name for name in cluster.CODE]
"""The project's own code: a node has what it needs, but not this."""


@pytest.fixture
def flaky(bucket):
    """An S3 server of which one request in twenty fails."""
    with flaky_s3(rate=0.05, stall=0.5) as server:
        fsspec.filesystem("s3").clear_instance_cache()
        yield server
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def blind(tmp_path, flaky, monkeypatch, request):
    """A cluster with nodes of these names that see neither the driver's folder nor the project's code."""
    if subprocess.run([*OWN_MOUNTS, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine permits no mount namespaces")
    driver = tmp_path / "driver"
    driver.mkdir()
    (driver / "here").touch()
    monkeypatch.setenv("VOSFORGE_CACHE", str(driver / "cache"))
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir=short_folder()) as folder,
        Cluster(Path(folder), cores=0) as nodes,
    ):
        for name in request.param:
            nodes.add(1, prefix=hiding([driver, *HIDDEN]), environment={"VOSFORGE_CACHE": str(tmp_path / name)})
        for node in nodes.nodes[1:]:
            seen = Path(f"/proc/{node.raylet}/root")
            assert not Path(f"{seen}{driver}/here").exists() and not [*Path(f"{seen}{HIDDEN[0]}").iterdir()]
            assert Path(f"{seen}{sys.executable}").exists()
        yield nodes


def run(nodes, *command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", *command, f"--address={nodes.address}"],
        env={**os.environ, **nodes.token},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("blind", [("one", "two")], indirect=True)
def test_nodes_without_a_shared_folder_fill_a_data_set_on_a_store_that_fails(bucket, blind, flaky):
    url = f"{bucket}/farm"
    driver = run(blind, "benchmarks.farm", url, "--videos=40", "--per-shard=8", "--workers=2")
    done = place(url) / "data" / "shards"
    while driver.poll() is None and not flaky.faults["gone"]:
        time.sleep(0.5)
        if [*done.glob("*.h5")]:
            assert all(any(CHILD in command for command in node.processes.values()) for node in blind.nodes[1:])
            flaky.gone.set()  # the bucket is gone, for longer than a store's own library waits
            threading.Timer(20, flaky.gone.clear).start()
            time.sleep(20)
    said, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0 and "quarantined 0, left 0" in said, said
    assert flaky.faults["gone"] and flaky.faults["refused"] and flaky.faults["reset"]
    flaky.rate = 0.0
    assert len(ShardSet(f"{url}/data").videos) == 40 and not verify_path(place(f"{url}/data")).problems


@pytest.mark.blender
@pytest.mark.parametrize("blind", [("one",), pytest.param(("one", "two"), marks=pytest.mark.slow)], indirect=True)
def test_assets_and_code_reach_nodes_without_a_shared_folder(bucket, blind, flaky, tmp_path):
    url, nodes = f"{bucket}/{tmp_path.name}", blind.nodes[1:]
    small = [f"--videos={2 * len(nodes)}", "--frames=3", "--num-meshes=4", "--num-textures=3"]
    small += ["--set=videos_per_shard=2"]
    small += ["--set=render.width=64", "--set=render.height=48", "--set=render.samples=2", "--set=scene.gates=false"]
    driver = run(blind, "tools.cli", "render", url, *small)
    said, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, said
    alone = [sys.executable, "-m", "tools.cli", "render", str(tmp_path / "alone"), "--part=1/1", "--workers=1", *small]
    subprocess.run(alone, check=True, capture_output=True, timeout=240)
    flaky.rate = 0.0
    here, there = ShardSet(tmp_path / "alone"), ShardSet(url)
    assert not verify_path(place(url)).problems
    for one, other in zip(here, there, strict=True):
        assert one.row == other.row and (one.masks() == other.masks()).all() and (one.frames() == other.frames()).all()
    used = {hash for video in here for hash in video.spec_json.split('"') if len(hash) == 32}
    for name in ("one", "two")[: len(nodes)]:
        kept = {path.stem for path in (tmp_path / name / "store").rglob("*") if path.is_file()}
        assert kept and kept <= used | {path.stem for path in (tmp_path / "driver" / "cache" / "store").rglob("*.*")}
