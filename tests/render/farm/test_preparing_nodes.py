"""Models are prepared on the nodes of a real Ray cluster, whose folders are not this machine's."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from assets.folders import folder_models
from assets.memory import versions
from assets.store import AssetStore
from render.farm.prepare import build_catalog
from render.farm.preparing import NotHere, Packed, prepare_here, prepare_packed
from tests.render.farm.test_preparing import START, folders, jobs, prepare, saved, write_models
from vosforge.processes import short_folder

pytestmark = pytest.mark.ray
cluster = pytest.importorskip("render.farm.cluster", exc_type=ImportError)
Config = pytest.importorskip("ray._raylet").Config
assert folders


def test_a_machine_prepares_for_another_only_what_it_would_prepare_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBS", str(tmp_path / "jobs"))
    write_models(tmp_path / "models", 2)
    first, second = folder_models(tmp_path / "models")
    gone = first.model_copy(update={"path": tmp_path / "gone.obj"})
    a, b, c = prepare_packed([first, gone, second], versions(), START)
    assert isinstance(b, NotHere) and str(tmp_path / "gone.obj") in b.why
    assert isinstance(a, Packed) and isinstance(c, Packed)
    store = AssetStore(tmp_path / "store")
    store.unpack(c.found.asset, c.files)
    assert store.holds(c.found.asset) and c.found.asset.textures
    assert jobs(tmp_path) == ["m00", "m01"]
    others = list(prepare_packed([first, second], (*versions()[:-1], "bpy 9"), START))
    assert len(others) == 2 and all(isinstance(other, NotHere) for other in others) and not jobs(tmp_path)
    no_start = list(prepare_packed([first, second], versions(), "tests.no_such_module"))
    assert len(no_start) == 2 and all(isinstance(other, NotHere) for other in no_start)


NODE = """
mount --make-rprivate / && mount -t tmpfs none {hidden} && mount -t tmpfs none {store} && echo 8 > {store}/theirs
exec {ray} start --head --block --port={port} --temp-dir={folder} --node-ip-address=127.0.0.1 --num-cpus=2 \
    --memory=4294967296 --object-store-memory=83886080 --include-dashboard=false
"""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster of one node, in a mount namespace of its own: it sees neither the store nor the folder "hidden"."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # as `ray start` has it where a token is
    Config.initialize("")  # Ray reads it once
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    names = {"hidden": tmp_path / "models" / "hidden", "store": tmp_path / "store"}
    for name in names.values():
        name.mkdir(parents=True, exist_ok=True)
    ray = f"{sys.executable} -m ray.scripts.scripts"
    folder = short_folder() / f"ray-{os.getpid()}-{port}"
    script = NODE.format(**names, ray=ray, port=port, folder=folder)
    command = ["unshare", "--mount", "bash", "-ec", script]
    log = (tmp_path / "node.log").open("wb")
    node = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while b"Ray runtime started" not in (tmp_path / "node.log").read_bytes():
            if node.poll() is not None and b"ermi" in (tmp_path / "node.log").read_bytes():
                pytest.skip("no mount namespace can be made here")
            assert node.poll() is None and time.monotonic() < deadline, (tmp_path / "node.log").read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(node.pid, signal.SIGKILL)  # Ray's processes are all of this group
        node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_nodes_prepare_what_they_see_and_lost_tasks_are_tried_again(folders, tmp_path, address):
    models = tmp_path / "models" / "seen"
    models.mkdir()
    for path in models.parent.glob("*.*"):
        path.rename((models.parent / "hidden" if path.stem in ("m02", "m03") else models) / path.name)
    (models / "m04.obj").write_text("kill 0 0 0 1 0 0 0 5 1\n")
    (models / "broken.obj").write_text("no triangle")
    store = AssetStore(tmp_path / "store")
    on_nodes = partial(cluster.prepare_on_nodes, address=address, start=START)
    here = []

    def watched(todo, store):
        for found in on_nodes(todo, store):
            here.append(found.model.name)
            yield found

    catalog = build_catalog(folders, 1, store, watched)
    assert sorted(here) == ["broken", "m00", "m01", "m02", "m03", "m04", "m05"]
    assert sorted(here[-2:]) == ["m02", "m03"]  # prepared here, when the node was done
    assert (tmp_path / "m04.killed").exists()
    assert jobs(tmp_path).count("m04") == 2
    assert all(store.holds(asset) for asset in catalog.assets) and not (store.root / "theirs").exists()
    build_catalog(folders, 1, store, on_nodes)
    assert jobs(tmp_path) == []  # remembered, as what is prepared here
    alone = build_catalog(folders, 1, AssetStore(tmp_path / "alone"), prepare)
    assert saved(alone, tmp_path / "a") == saved(catalog, tmp_path / "b")


def test_a_model_that_ends_every_task_is_prepared_here(folders, tmp_path, address, monkeypatch):
    monkeypatch.setenv("HERE", "1")  # which no node has
    (tmp_path / "models" / "m04.obj").write_text("always kill 0 0 0 1 0 0 0 5 1\n")
    on_nodes = partial(cluster.prepare_on_nodes, address=address, start=START)
    catalog = build_catalog(folders, 1, AssetStore(tmp_path / "store"), on_nodes)
    assert len(catalog.of_kind("mesh")) == 6
    assert jobs(tmp_path).count("m04") == cluster.MODEL_TRIES + 1


@pytest.mark.blender
def test_blender_on_a_node_prepares_what_blender_here_does(tmp_path, address, monkeypatch):
    root = tmp_path / "models"
    for name, height in (("tall", 3), ("flat", 1)):
        (root / f"{name}.obj").write_text(
            f"mtllib {name}.mtl\nv 0 0 0\nv 1 0 0\nv 0 {height} 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl skin\nf 1/1 2/2 3/3\n"
        )
        (root / f"{name}.mtl").write_text(f"newmtl skin\nmap_Kd {name}.png\n")
        Image.new("RGB", (4, 4), (height, 8, 7)).save(root / f"{name}.png")
    monkeypatch.setattr(cluster, "_task_slots", lambda: 1)  # one Blender is enough
    models, there, here = folder_models(root), AssetStore(tmp_path / "store"), AssetStore(tmp_path / "here")
    on_nodes = {found.model: found for found in cluster.prepare_on_nodes(models, there, address)}
    (alone,) = prepare_here(models[:1], here)
    assert on_nodes[models[0]] == alone and len(on_nodes) == 2
    assert all(found.sources and found.asset.textures and there.holds(found.asset) for found in on_nodes.values())
