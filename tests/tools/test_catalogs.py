"""Models of a pack, from its archive to a run's catalog, through a real Blender process."""

import logging
import zipfile
from pathlib import Path

import pytest

from assets.store import AssetStore
from tools.catalogs import build_catalog
from vosforge.errors import InputError, VOSForgeError
from vosforge.log import logger

pytestmark = pytest.mark.blender

PROPERTIES = """license=Public domain
id#1=cube
name#1=Cube
category#1=Solids
model#1=cube/cube.obj
creator#1=A. Maker
id#2=broken
name#2=Broken
category#2=Other
model#2=broken/broken.obj
"""
CUBE = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1)) + (
    "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n"
)


def write_pack(cache: Path, cube: str) -> None:
    root = cache / "packs" / "sweethome3d"
    root.mkdir(parents=True)
    with zipfile.ZipFile(root / "test.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", PROPERTIES)
        archive.writestr("cube/cube.obj", cube)
        archive.writestr("broken/broken.obj", "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOSFORGE_CACHE", str(tmp_path))
    return tmp_path


def test_a_packs_models_join_the_catalog_and_broken_ones_are_named(
    cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    write_pack(cache, CUBE)
    store = AssetStore()
    with caplog.at_level(logging.WARNING):
        catalog = build_catalog("sweethome3d", 10, 4, seed=1, store=store)
    [cube] = catalog.of_kind("mesh")
    assert (cube.name, cube.source, cube.licence, cube.creator) == ("Cube", "sweethome3d/cube", "CC0-1.0", "A. Maker")
    assert len(store.mesh(cube.hash).faces) == 12
    assert len(catalog.of_kind("texture")) == 4 and catalog.of_kind("hdri")
    assert "left out" in caplog.text and "broken.obj" in caplog.text and "NaN" in caplog.text


def test_a_pack_without_a_usable_model_ends_the_run(cache: Path) -> None:
    write_pack(cache, "v 0 0 0\n")
    with pytest.raises(VOSForgeError, match="none of the models of sweethome3d"):
        build_catalog("sweethome3d", 10, 4, seed=1, store=AssetStore())


def test_a_pack_that_is_not_installed_names_the_command(cache: Path) -> None:
    with pytest.raises(InputError, match="vosforge assets install sweethome3d"):
        build_catalog("sweethome3d", 10, 4, seed=1, store=AssetStore())
