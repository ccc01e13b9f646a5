"""Models are prepared on the nodes of a real Ray cluster, whose folders are not this machine's."""

import multiprocessing
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from assets.folders import folder_models
from assets.memory import versions
from assets.store import AssetStore
from render.farm.prepare import build_catalog
from render.farm.preparing import NotHere, Packed, prepare_here, prepare_packed
from tests.render.farm.nodes import OWN_MOUNTS, Cluster, hiding
from tests.render.farm.test_preparing import START, folders, jobs, prepare, saved, write_models
from vosforge.processes import short_folder

pytestmark = pytest.mark.ray
cluster = pytest.importorskip("render.farm.cluster", exc_type=ImportError)
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


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster with one node, in a mount namespace of its own: it sees neither the store nor the folder "hidden"."""
    if subprocess.run([*OWN_MOUNTS, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine permits no mount namespaces")
    hidden = [tmp_path / "models" / "hidden", tmp_path / "store"]
    for folder in hidden:
        folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir=short_folder()) as folder,
        Cluster(Path(folder), cores=0) as nodes,
    ):
        nodes.add(2, prefix=hiding(hidden))
        for name, value in nodes.token.items():
            monkeypatch.setenv(name, value)
        yield nodes.address


def apart(function, *arguments):
    """What ``function`` returns, called in a process of its own: Ray ends a driver whose cluster goes wrong."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result(timeout=180)


def on_nodes(address, settings, store):
    """The names of the models in the order in which they were prepared, and the catalog."""
    names = []

    def watched(todo, store):
        for found in cluster.prepare_on_nodes(todo, store, address=address, start=START):
            names.append(found.model.name)
            yield found

    return names, build_catalog(settings, 1, store, watched)


def by_blender(address, models, store):
    """What nodes prepare, one after the other: one Blender is enough."""
    cluster._task_slots = lambda: 1
    return list(cluster.prepare_on_nodes(models, store, address))


def test_nodes_prepare_what_they_see_and_lost_tasks_are_tried_again(folders, tmp_path, address):
    models = tmp_path / "models" / "seen"
    models.mkdir()
    for path in models.parent.glob("*.*"):
        path.rename((models.parent / "hidden" if path.stem in ("m02", "m03") else models) / path.name)
    (models / "m04.obj").write_text("kill 0 0 0 1 0 0 0 5 1\n")
    (models / "broken.obj").write_text("no triangle")
    store = AssetStore(tmp_path / "store")
    here, catalog = apart(on_nodes, address, folders, store)
    assert sorted(here) == ["broken", "m00", "m01", "m02", "m03", "m04", "m05"]
    assert sorted(here[-2:]) == ["m02", "m03"]  # prepared here, when the node was done
    assert (tmp_path / "m04.killed").exists()
    assert jobs(tmp_path).count("m04") == 2
    assert all(store.holds(asset) for asset in catalog.assets)
    apart(on_nodes, address, folders, store)
    assert jobs(tmp_path) == []  # remembered, as what is prepared here
    alone = build_catalog(folders, 1, AssetStore(tmp_path / "alone"), prepare)
    assert saved(alone, tmp_path / "a") == saved(catalog, tmp_path / "b")


@pytest.mark.slow
def test_a_model_that_ends_every_task_is_prepared_here(folders, tmp_path, address, monkeypatch):
    monkeypatch.setenv("HERE", "1")  # which no node has
    (tmp_path / "models" / "m04.obj").write_text("always kill 0 0 0 1 0 0 0 5 1\n")
    _, catalog = apart(on_nodes, address, folders, AssetStore(tmp_path / "store"))
    assert len(catalog.of_kind("mesh")) == 6
    assert jobs(tmp_path).count("m04") == cluster.MODEL_TRIES + 1


@pytest.mark.slow
@pytest.mark.blender
def test_blender_on_a_node_prepares_what_blender_here_does(tmp_path, address):
    root = tmp_path / "models"
    for name, height in (("tall", 3), ("flat", 1)):
        (root / f"{name}.obj").write_text(
            f"mtllib {name}.mtl\nv 0 0 0\nv 1 0 0\nv 0 {height} 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl skin\nf 1/1 2/2 3/3\n"
        )
        (root / f"{name}.mtl").write_text(f"newmtl skin\nmap_Kd {name}.png\n")
        Image.new("RGB", (4, 4), (height, 8, 7)).save(root / f"{name}.png")
    models, there, here = folder_models(root), AssetStore(tmp_path / "store"), AssetStore(tmp_path / "here")
    found_there = {found.model: found for found in apart(by_blender, address, models, there)}
    (alone,) = prepare_here(models[:1], here)
    assert found_there[models[0]] == alone and len(found_there) == 2
    assert all(found.sources and found.asset.textures and there.holds(found.asset) for found in found_there.values())
