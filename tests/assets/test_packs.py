import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from assets import packs
from assets.models import asset_of, pick_models
from assets.packs import install_pack, pack_models, unpack_model
from assets.prepared import Skeleton, prepare_mesh
from assets.store import AssetStore
from assets.surroundings import bundled_hdris, hdri_catalog
from vosforge.errors import InputError, VOSForgeError
from vosforge.seeding import rng_for

ROOT = Path(__file__).parents[2]
PROPERTIES = r"""# a comment
! another
id=Test#catalog
license=Creative Commons Attribution 3.0 United States license  Copyright \u00a9 2003
provider=www.example.org
id#1=Test#caf\u00e9
name#1=Caf\u00e9 chair
category#1=Kitchen
model#1=/models/chair/chair.obj
creator#1=A. Maker
modelRotation#1=1 0 0 0 0 1 0 -1 0
id#2=Test#lamp
name#2=A lamp \
    with a long name
category#2=Lights
model#2=/models/lamp/lamp.obj
"""
OBJ = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


def write_pack(root, properties=PROPERTIES, extra=()):
    root.mkdir(parents=True, exist_ok=True)
    path = root / "test.sh3f"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", properties.encode("latin-1"))
        archive.writestr("models/chair/", b"")
        for name in ("chair/chair.obj", "chair/chair.mtl", "chair/images/wood.jpg", "lamp/lamp.obj"):
            archive.writestr(f"models/{name}", OBJ if name.endswith("obj") else name)
        for name, content in extra:
            archive.writestr(name, content)
    return path


def test_models_are_listed_with_whose_they_are(tmp_path):
    write_pack(tmp_path)
    chair, lamp = pack_models("sweethome3d", tmp_path)
    assert (chair.name, chair.category, chair.creator) == ("Café chair", "Kitchen", "A. Maker")
    assert chair.source == "sweethome3d/Test#café" and chair.licence == "CC-BY-3.0-US"
    assert lamp.name == "A lamp with a long name" and lamp.creator == "www.example.org" and lamp.rotation == ()


@pytest.mark.parametrize(
    ("licence", "name"),
    [("Public domain", "CC0-1.0"), ("Creative Commons Attribution 3.0 Unported license", "CC-BY-3.0"), ("X  y", "X y")],
)
def test_licences_have_their_spdx_names(tmp_path, licence, name):
    write_pack(tmp_path, f"license={licence}\nmodel#1=/models/lamp/lamp.obj\n")
    assert pack_models("sweethome3d", tmp_path)[0].licence == name


def test_a_model_is_unpacked_with_what_lies_beside_it(tmp_path):
    write_pack(tmp_path / "pack")
    chair, _ = pack_models("sweethome3d", tmp_path / "pack")
    path = unpack_model(chair, tmp_path / "out")
    assert path.read_bytes() == OBJ
    assert {file.name for file in (tmp_path / "out").rglob("*.*")} == {"chair.obj", "chair.mtl", "wood.jpg"}


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, "/etc/passwd"


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (("models/chair/../../../evil.obj", "x"), r"evil\.obj.*unsafe"),
        (("models/chair/C:\\evil.obj", "x"), "unsafe"),
        (link("models/chair/passwd"), "holds a link"),
    ],
)
def test_what_would_leave_the_folder_is_refused(tmp_path, extra, reason):
    path = write_pack(tmp_path / "pack", extra=[extra])
    chair, lamp = pack_models("sweethome3d", tmp_path / "pack")
    with pytest.raises(InputError, match=reason) as caught:
        unpack_model(chair, tmp_path / "a" / "b" / "out")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "a").exists() and not list(tmp_path.rglob("*evil*"))
    assert unpack_model(lamp, tmp_path / "out").is_file(), "the other models stay usable"


@pytest.mark.parametrize("member", ["/../../evil/evil.obj", "//etc/passwd/../x.obj", "/models/chair/none.obj"])
def test_a_catalog_that_points_elsewhere_is_refused(tmp_path, member):
    write_pack(tmp_path / "pack", f"model#1={member}\n", extra=[("../../evil/evil.obj", "x")])
    [model] = pack_models("sweethome3d", tmp_path / "pack")
    with pytest.raises(InputError, match=r"remove it|leave it out"):
        unpack_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "LARGEST_MODEL", 2**20)
    write_pack(tmp_path / "pack", extra=[("models/chair/zeros.jpg", bytes(2**20))])
    chair, _ = pack_models("sweethome3d", tmp_path / "pack")
    with pytest.raises(InputError, match="over 1 MiB"):
        unpack_model(chair, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_archives_are_named(tmp_path):
    path = write_pack(tmp_path / "pack")
    whole = path.read_bytes()
    models = pack_models("sweethome3d", tmp_path / "pack")
    path.write_bytes(whole.replace(OBJ, OBJ[::-1]))
    with pytest.raises(InputError, match=r"test\.sh3f.*CRC"):
        unpack_model(models[0], tmp_path / "out")
    for data in (whole[:100], b""):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"test\.sh3f"):
            pack_models("sweethome3d", tmp_path / "pack")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "")
    with pytest.raises(InputError, match=r"has no PluginFurnitureCatalog\.properties"):
        pack_models("sweethome3d", tmp_path / "pack")


def test_the_remedy_is_named_where_a_pack_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="vosforge assets install sweethome3d"):
        pack_models("sweethome3d", tmp_path)
    with pytest.raises(InputError, match="known packs: sweethome3d, pybullet"):
        install_pack("sweethome4d", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(InputError, match="apt-get"):
        install_pack("sweethome3d", tmp_path)


def test_installing_runs_apt_once_and_leaves_nothing_on_failure(tmp_path, monkeypatch):
    calls = []

    def fake_run(command, cwd, **_):
        calls.append(command[0])
        if command[0] == "apt-get":
            (cwd / "sweethome3d-furniture_1.deb").touch()
        else:
            write_pack(cwd / "unpacked" / "usr" / "share" / "sweethome3d" / "furniture")
        return subprocess.CompletedProcess(command, 0, "", "")

    def failing_run(command, **_):
        return subprocess.CompletedProcess(command, 100, "", "W: hm\nE: Unable to locate package\n")

    monkeypatch.setattr(shutil, "which", lambda tool: tool)
    monkeypatch.setattr(subprocess, "run", failing_run)
    with pytest.raises(VOSForgeError, match=r"Unable to locate package.*apt-get update"):
        install_pack("sweethome3d", tmp_path)
    assert list((tmp_path / "packs").iterdir()) == []
    monkeypatch.setattr(subprocess, "run", fake_run)
    root = install_pack("sweethome3d", tmp_path)
    assert install_pack("sweethome3d", tmp_path) == root and calls == ["apt-get", "dpkg-deb"]
    assert list((tmp_path / "packs").iterdir()) == [root] and len(pack_models("sweethome3d", root)) == 2


def test_pybullets_shapes_are_taken_from_its_wheel_and_nothing_else_is(tmp_path, monkeypatch):
    def fake_run(command, cwd, **_):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        with zipfile.ZipFile(cwd / "pybullet-1.whl", "w") as wheel:
            for number in ("000", "001"):
                for name in (f"{number}.obj", f"{number}.mtl", f"{number}.urdf"):
                    wheel.writestr(f"pybullet_data/random_urdfs/{number}/{name}", OBJ)
            wheel.writestr("pybullet_data/random_urdfs/../../evil.obj", OBJ)
            wheel.writestr("pybullet_data/table.obj", OBJ)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", fake_run)
    root = install_pack("pybullet", tmp_path)
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == [
        "000.mtl", "000.obj", "001.mtl", "001.obj", "credits.yaml"
    ]  # fmt: skip
    models = pack_models("pybullet", root)
    assert [model.source for model in models] == ["pybullet/shape/000.obj", "pybullet/shape/001.obj"]
    assert {model.licence for model in models} == {"Zlib"}
    assert not (tmp_path / "evil.obj").exists()


def test_picking_takes_categories_in_turn(tmp_path):
    lines = [f"model#{n}=/m/{n}.obj\ncategory#{n}={'rare' if n < 3 else 'common'}\nid#{n}={n}" for n in range(40)]
    write_pack(tmp_path, "\n".join(lines))
    models = pack_models("sweethome3d", tmp_path)
    picked = pick_models(models, 6, rng_for(0, "pick"))
    assert len({model.source for model in picked}) == 6 and sum(model.category == "rare" for model in picked) == 3
    assert pick_models(models, 6, rng_for(0, "pick")) == picked != pick_models(models, 6, rng_for(1, "pick"))
    assert len(pick_models(models, 1000, rng_for(0, "pick"))) == 40


def test_an_asset_is_set_upright(tmp_path):
    write_pack(tmp_path / "pack")
    chair, lamp = pack_models("sweethome3d", tmp_path / "pack")
    store = AssetStore(tmp_path / "store")
    mesh = prepare_mesh(
        "m", [[0, 0, 0], [3, 0, 0], [0, 2, 0], [0, 0, 1.0]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    )
    plain = asset_of(lamp, mesh, store)
    assert plain.hash == mesh.content_hash() and (plain.kind, plain.name) == ("mesh", lamp.name)
    # (x, y, z) -> (x, z, -y) in y-up axes, which are (x, z, -y) of ours: together a quarter turn about x.
    turned = store.mesh(asset_of(chair, mesh, store).hash)
    assert np.allclose(np.ptp(turned.vertices, axis=0), np.ptp(mesh.vertices, axis=0)[[0, 2, 1]], atol=1e-6)
    turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    assert np.allclose(turned.vertices, mesh.vertices @ turn.T, atol=1e-6)
    # Its joints turn with it, and its entry tells how they hang together.
    skeleton = Skeleton(mesh.vertices[:2] / 2, np.array([-1, 0]), np.eye(2)[[0, 1, 0, 1]])
    jointed = prepare_mesh("m", mesh.vertices, mesh.faces, skeleton=skeleton)
    entry = asset_of(chair, jointed, store)
    assert plain.joints == () and entry.joints == asset_of(lamp, jointed, store).joints == (-1, 0)
    assert np.allclose(store.mesh(entry.hash).joints, jointed.joints @ turn.T, atol=1e-6)
    assert np.array_equal(store.mesh(entry.hash).skin, jointed.skin)


def test_hdris_are_found_without_bpy(tmp_path):
    if not bundled_or_none():
        pytest.skip("bpy is not installed")
    catalog = hdri_catalog(AssetStore(tmp_path))
    assert len(catalog) == 8 and {asset.licence for asset in catalog.assets} == {"CC0-1.0"}
    assert "bpy/forest.exr" in {asset.source for asset in catalog.assets}
    code = "import sys, assets.surroundings as s; s.bundled_hdris(); sys.exit('bpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def bundled_or_none():
    try:
        return bundled_hdris()
    except VOSForgeError:
        return ()


def test_without_bpy_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(VOSForgeError, match=r"vosforge\[render\]"):
        bundled_hdris()
