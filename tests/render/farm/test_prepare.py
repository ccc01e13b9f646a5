"""Models of a pack, from its archive to a run's catalog, through a real Blender process."""

import errno
import logging
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from assets.settings import AssetSettings
from assets.store import AssetStore
from render.farm.prepare import build_catalog, check_assets
from render.farm.process import BlenderCrashError, BlenderUnusableError
from vosforge.errors import InputError, MachineError, VOSForgeError
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
PACK = AssetSettings(models="sweethome3d", num_meshes=10, num_textures=4)


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
        catalog = build_catalog(PACK, seed=1, store=store)
    [cube] = catalog.of_kind("mesh")
    assert (cube.name, cube.source, cube.licence, cube.creator) == ("Cube", "sweethome3d/cube", "CC0-1.0", "A. Maker")
    assert len(store.mesh(cube.hash).faces) == 12
    assert len(catalog.of_kind("texture")) == 4 and catalog.of_kind("hdri")
    assert "left out" in caplog.text and "broken.obj" in caplog.text and "NaN" in caplog.text


def test_a_pack_without_a_usable_model_ends_the_run(cache: Path) -> None:
    write_pack(cache, "v 0 0 0\n")
    with pytest.raises(VOSForgeError, match="none of the models of sweethome3d"):
        build_catalog(PACK, seed=1, store=AssetStore())


def test_a_pack_that_is_not_installed_names_the_command(cache: Path) -> None:
    with pytest.raises(InputError, match="vosforge assets install sweethome3d"):
        build_catalog(PACK, seed=1, store=AssetStore())


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    (root / "sub").mkdir(parents=True)
    (root / "cube.obj").write_text(CUBE)
    (root / "sub" / "painted.obj").write_text("mtllib painted.mtl\nusemtl skin\n" + CUBE.replace("0 0 1", "0 0 2"))
    (root / "sub" / "painted.mtl").write_text("newmtl skin\nmap_Kd none.png\n")
    (root / "flat.obj").write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    (root / "nan.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (root / "remote.gltf").write_text('{"asset": {}, "buffers": [{"uri": "https://example.org/a.bin"}]}')
    (root / "scene.blend").write_bytes(b"BLENDER")
    (root / "bad.png").write_bytes(b"no image")
    return root


def test_a_folder_is_checked_problem_by_problem(messy: Path) -> None:
    found = check_assets(messy, quarantine=False)
    assert (found.usable, found.unusable) == (2, 5)
    assert len(found.problems) == 6
    for name in ("painted.obj", "flat.obj", "nan.obj", "remote.gltf", "scene.blend", "bad.png"):
        [line] = [line for line in found.problems if name in line]
        assert "\n" not in line and str(messy) in line
    assert any("none.png is missing" in line for line in found.problems)
    assert sorted(path.name for path in messy.glob("*.obj")) == ["cube.obj", "flat.obj", "nan.obj"]


def test_quarantine_sets_the_unusable_aside_and_leaves_a_folder_without_them(messy: Path) -> None:
    check_assets(messy, quarantine=True)
    assert sorted(path.name for path in (messy / "quarantine").rglob("*")) == [
        "bad.png",
        "flat.obj",
        "nan.obj",
        "remote.gltf",
        "scene.blend",
    ]
    again = check_assets(messy, quarantine=True)
    assert (again.usable, again.unusable) == (2, 0)
    assert len(again.problems) == 1  # the missing image


def test_a_users_folders_make_a_catalog(messy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (8, 8), (9, 8, 7)).save(pictures / "one.png")
    (messy / "credits.yaml").write_text("licence: CC-BY-4.0\ncreator: Me\n")
    store = AssetStore(tmp_path / "store")
    settings = AssetSettings(models=str(messy), textures=pictures)
    catalog = build_catalog(settings, seed=1, store=store)
    assert {asset.name for asset in catalog.of_kind("mesh")} == {"cube", "painted"}
    assert {asset.licence for asset in catalog.of_kind("mesh")} == {"CC-BY-4.0"}
    assert [asset.name for asset in catalog.of_kind("texture")] == ["one"]
    assert build_catalog(settings, seed=1, store=store) == catalog
    with pytest.raises(InputError, match="holds no usable image"):
        build_catalog(AssetSettings(textures=messy), seed=1, store=store)
    with pytest.raises(InputError, match="there is no folder nowhere"):
        build_catalog(AssetSettings(models="nowhere"), seed=1, store=store)


def test_a_folder_of_images_is_checked_too(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (9, 8, 7)).save(tmp_path / "one.png")
    (tmp_path / "two.hdr").write_bytes(b"no image")
    found = check_assets(tmp_path, quarantine=False)
    assert (found.usable, found.unusable) == (1, 1) and "two.hdr" in found.problems[0]


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


class Fails:
    """Stands for a Blender process that answers every job with one error."""

    error: VOSForgeError
    jobs = 0

    def __init__(self, log: Path, start: str) -> None:
        pass

    def __enter__(self) -> "Fails":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, job: dict) -> Iterator[dict]:
        type(self).jobs += 1
        raise self.error
        yield {}


@pytest.mark.parametrize(
    "error",
    [BlenderCrashError("killed", -9), BlenderCrashError("hung"), MachineError("No space left on device")],
)
def test_models_that_were_not_read_stay_and_are_in_no_catalog_s_way(
    messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: VOSForgeError
) -> None:
    monkeypatch.setattr("render.farm.preparing.BlenderProcess", type("Failing", (Fails,), {"error": error}))
    found = check_assets(messy, quarantine=True)
    assert sorted(path.name for path in (messy / "quarantine").rglob("*")) == ["bad.png", "scene.blend"]
    assert found.usable == 0 and sum(str(error) in line for line in found.problems) == 5
    with pytest.raises(MachineError, match=str(error)):  # instead of a catalog without them, pinned for good
        build_catalog(AssetSettings(models=str(messy)), seed=1, store=AssetStore(tmp_path / "store"))


def test_a_model_that_ends_two_processes_by_itself_cannot_be_used(messy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = type("Failing", (Fails,), {"error": BlenderCrashError("it crashed", -11)})
    monkeypatch.setattr("render.farm.preparing.BlenderProcess", failing)
    assert check_assets(messy, quarantine=False).unusable == 7
    assert failing.jobs == 10


def test_a_blender_that_does_not_start_blames_no_model(messy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(messy)
    monkeypatch.setattr("render.farm.process.sys.executable", "/bin/false")
    with pytest.raises(BlenderUnusableError, match="exit code 1"):
        check_assets(messy, quarantine=True)
    assert files(messy) == before


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.EMFILE])
def test_images_that_the_machine_did_not_read_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    Image.new("RGB", (8, 8), (9, 8, 7)).save(tmp_path / "one.png")
    (tmp_path / "two.hdr").write_bytes(b"#?RADIANCE")
    before = files(tmp_path)

    def refuse(path: Path) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        found = check_assets(tmp_path, quarantine=True)
    assert (found.usable, found.unusable, found.unread, len(found.problems)) == (0, 0, 2, 2)
    assert files(tmp_path) == before
