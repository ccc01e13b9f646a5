"""What models and images became is remembered: a killed preparation goes on, and nothing is prepared twice."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from assets.catalog import Catalog
from assets.memory import Remembered
from assets.settings import AssetSettings
from assets.store import AssetStore
from render.farm import preparing
from render.farm.prepare import build_catalog
from vosforge.errors import MachineError
from vosforge.log import logger

START = "tests.render.farm.preparing_child"
prepare = partial(preparing.prepare_here, start=START)


def write_models(root: Path, count: int) -> None:
    root.mkdir()
    for number in range(count):
        (root / f"m{number:02d}.obj").write_text(f"0 0 0 1 0 0 0 {number + 1} 1\n")
        if number % 2:
            Image.new("RGB", (4, 4), (number, 8, 7)).save(root / f"m{number:02d}.png")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AssetSettings:
    """Six models, three of them with images, in a folder; an image and an HDRI in another."""
    monkeypatch.setenv("JOBS", str(tmp_path / "jobs"))
    monkeypatch.setattr(preparing, "cores", lambda: 1)  # starting processes is all that takes time
    write_models(tmp_path / "models", 6)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8), (9, 8, 7)).save(tmp_path / "pictures" / "one.png")
    (tmp_path / "pictures" / "two.hdr").write_bytes(b"#?RADIANCE")
    return AssetSettings(models=str(tmp_path / "models"), textures=tmp_path / "pictures", hdris=tmp_path / "pictures")


def jobs(tmp_path: Path) -> list[str]:
    """The names of the models prepared since the last call, sorted."""
    path = tmp_path / "jobs"
    names = sorted(path.read_text().split()) if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def saved(catalog: Catalog, path: Path) -> bytes:
    catalog.save(path)
    return path.read_bytes()


def test_a_second_data_set_prepares_nothing_and_has_the_same_catalog(folders, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logger, "propagate", True)
    (tmp_path / "models" / "m99.obj").write_text("no triangle")
    store = AssetStore(tmp_path / "store")
    with caplog.at_level(logging.WARNING):
        first = build_catalog(folders, 1, store, prepare)
    said = sorted({*caplog.messages})  # other tests of this process may have left a handler
    assert len(jobs(tmp_path)) == 7 and len(said) == 4 and any("left out" in line for line in said)
    assert len(first) == 8
    caplog.clear()
    read = []
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(AssetStore, "put_image", lambda *given: read.append(given))
        patch.setattr(AssetStore, "put_hdri", lambda *given: read.append(given))
        again = build_catalog(folders, 1, AssetStore(store.root), prepare)
    assert (jobs(tmp_path), read) == ([], [])
    assert sorted({*caplog.messages}) == said
    other = build_catalog(folders, 1, AssetStore(tmp_path / "other"), prepare)
    assert len(jobs(tmp_path)) == 7
    assert saved(first, tmp_path / "a") == saved(again, tmp_path / "b") == saved(other, tmp_path / "c")


def test_what_may_have_changed_is_prepared_again_and_nothing_else(folders, tmp_path):
    store, models = AssetStore(tmp_path / "store"), tmp_path / "models"
    for number in range(6):  # each model in a folder of its own, with its image
        (models / str(number)).mkdir()
        for path in models.glob(f"m{number:02d}.*"):
            path.rename(models / str(number) / path.name)
    build_catalog(folders, 1, store, prepare)
    jobs(tmp_path)
    Image.new("RGB", (4, 4), (99, 8, 7)).save(models / "1" / "m01.png")
    (models / "2" / "m02.obj").write_text("0 0 0 1 0 0 0 44 1\n")
    Image.new("RGB", (4, 4), (77, 8, 7)).save(models / "4" / "m04.png")  # it had none
    (models / "5" / "other.glb").write_text("0 0 0 1 0 0 0 55 1\n")
    new = build_catalog(folders, 1, store, prepare)
    assert jobs(tmp_path) == ["m01", "m02", "m04", "other"]
    fresh = build_catalog(folders, 1, AssetStore(tmp_path / "fresh"), prepare)
    assert saved(new, tmp_path / "a") == saved(fresh, tmp_path / "b")


def test_a_record_counts_only_whole_and_with_its_files(folders, tmp_path):
    store = AssetStore(tmp_path / "store")
    catalog = build_catalog(folders, 1, store, prepare)
    jobs(tmp_path)
    meshes = {asset.name: asset for asset in catalog.of_kind("mesh")}
    next(store.root.rglob(f"{meshes['m00'].hash}.npz")).unlink()
    next(store.root.rglob(f"{meshes['m03'].textures[0]}.png")).unlink()
    assert build_catalog(folders, 1, AssetStore(store.root), prepare) == catalog
    assert jobs(tmp_path) == ["m00", "m03"]
    records = sorted((store.root / "remembered").rglob("*.json"))
    assert len(records) == 8
    for place, record in enumerate(records):
        record.write_bytes((b"", b"{", b"\xff", record.read_bytes()[:-9])[place % 4])
    assert build_catalog(folders, 1, AssetStore(store.root), prepare) == catalog
    assert len(jobs(tmp_path)) == 6


def test_another_blender_or_another_way_of_preparing_forgets(folders, tmp_path, monkeypatch):
    store = AssetStore(tmp_path / "store")
    build_catalog(folders, 1, store, prepare)
    jobs(tmp_path)
    monkeypatch.setattr("assets.memory.versions", lambda: ("bpy 9",))
    build_catalog(folders, 1, store, prepare)
    assert len(jobs(tmp_path)) == 6


def test_what_the_machine_failed_is_not_remembered(folders, tmp_path, monkeypatch):
    class Fails(preparing.BlenderProcess):
        def run(self, job):
            raise MachineError("No space left on device")

    store = AssetStore(tmp_path / "store")
    with monkeypatch.context() as patch, pytest.raises(MachineError, match="No space left"):
        patch.setattr(preparing, "BlenderProcess", Fails)
        build_catalog(folders, 1, store, prepare)
    build_catalog(folders, 1, store, prepare)
    assert len(jobs(tmp_path)) == 6


BUILD = """
import sys
from pathlib import Path
from assets.store import AssetStore
from assets.settings import AssetSettings
from render.farm.prepare import build_catalog
from tests.render.farm.test_preparing import prepare

root = Path(sys.argv[1])
settings = AssetSettings(models=str(root / "models"), textures=root / "models", hdris=root / "pictures")
build_catalog(settings, 1, AssetStore(root / "store"), prepare).save(Path(sys.argv[2]))
"""


def kept(tmp_path: Path) -> list[str]:
    """The names of the models that are remembered, sorted."""
    records = [path for path in (tmp_path / "store" / "remembered").glob("*/*.json") if path.name[0] != "."]
    assets = [Remembered.model_validate_json(record.read_bytes()).asset for record in records]
    return sorted(asset.name for asset in assets if asset.kind == "mesh")


def test_a_killed_preparation_goes_on_where_it_was(folders, tmp_path):
    for number in range(10, 20):
        (tmp_path / "models" / f"m{number}.obj").write_text(f"0 0 0 1 0 0 0 {number + 1} 1\n")
    command = [sys.executable, "-c", BUILD, str(tmp_path), str(tmp_path / "catalog.jsonl")]
    killed = subprocess.Popen(command, env={**os.environ, "SLOW": "0.2"})
    deadline = time.monotonic() + 60
    while len(kept(tmp_path)) < 5 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    time.sleep(0.5)  # for its processes to end
    begun, before = jobs(tmp_path), kept(tmp_path)
    assert 5 <= len(before) < 16 and set(before) <= set(begun)
    subprocess.run(command, check=True)
    after = jobs(tmp_path)
    assert sorted(before + after) == sorted(Counter(before + after))  # nothing twice
    assert len(before + after) == len(Catalog.load(tmp_path / "catalog.jsonl").of_kind("mesh")) == 16


def test_many_processes_at_once_give_the_same(folders, tmp_path):
    command = [sys.executable, "-c", BUILD, str(tmp_path), str(tmp_path / "catalog.jsonl")]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        assert run.communicate(timeout=120) and run.returncode == 0
    jobs(tmp_path)
    together = (tmp_path / "catalog.jsonl").read_bytes()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert jobs(tmp_path) == [] and (tmp_path / "catalog.jsonl").read_bytes() == together
