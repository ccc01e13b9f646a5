"""Whatever a model may be made from changes its state; what it cannot be made from does not."""

import os
from pathlib import Path

import pytest

from assets.models import Model
from assets.sources import Trees, sources_of

GLTF = '{"asset": {}, "buffers": [{"uri": "data:,"}], "images": [{"uri": "%s"}]}'
FILES = {
    "a/x.obj": b"mtllib ../libraries/x.mtl\nv 0 0 0\n",
    "a/y.obj": b"v 0 0 0\n",
    "a/y.mtl": b"map_Kd y.png\n",
    "a/absolute.fbx": b"S\0/home/me/textures/wood.png\0",
    "a/up.fbx": b"S\0..\\..\\wood.png\0",
    "a/plain.fbx": b"S\0wood.png\0",
    "a/whole.gltf": (GLTF % "data:,").encode(),
    "a/parts.gltf": (GLTF % "parts/1.png").encode(),
    "a/parts.bin": b"",
    "a/s.stl": b"solid",
    "a/p.ply": b"ply",
    "a/u.usda": b"#usda",
    "a/b/c/deep.obj": b"mtllib deep.mtl\n",
    "a/b/c/deep.mtl": b"map_Kd ../deep.png\n",
    "libraries/x.mtl": b"newmtl skin\n",
    "other/z.png": b"z",
}
REACH = {
    "a/x.obj": "",
    "a/y.obj": "a",
    "a/absolute.fbx": "",
    "a/up.fbx": "",
    "a/plain.fbx": "a",
    "a/whole.gltf": None,
    "a/parts.gltf": "a",
    "a/s.stl": None,
    "a/p.ply": None,
    "a/u.usda": "",
    "a/b/c/deep.obj": "a/b",
}
"""By model: the folder below which all files count; None: its own file alone."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "root"


def model(root: Path, name: str) -> Model:
    words = dict.fromkeys(("name", "category", "source", "licence", "creator"), "x")
    return Model(**words, path=root / name, root=root)


def states(root: Path) -> dict[str, str]:
    trees = Trees()
    found = {name: sources_of(model(root, name), trees) for name in REACH}
    return {name: sources.state for name, sources in found.items() if sources is not None}


def touched(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("ab").close()
    later = path.stat().st_mtime_ns + 1
    os.utime(path, ns=(later, later))


def covers(folder: str | None, name: str) -> bool:
    return folder is not None and Path("/", name).is_relative_to(Path("/", folder))


@pytest.mark.parametrize("name", ["a/y.mtl", "a/y.png", "a/b/c/deep.mtl", "a/b/d.png", "libraries/x.mtl", "wood.png"])
def test_files_count_for_all_models_that_may_refer_to_them_and_for_no_others(root, name):
    before = states(root)
    assert before == states(root) and len(before) == len(REACH)
    touched(root / name)
    after = states(root)
    changed = {other for other in REACH if before[other] != after[other]}
    assert changed == {other for other in REACH if covers(REACH[other], name)}


@pytest.mark.parametrize("name", REACH)
def test_a_models_own_file_counts(root, name):
    before = states(root)
    touched(root / name)
    changed = {other for other, state in states(root).items() if state != before[other]}
    also = {other for other in REACH if covers(REACH[other], name)} if name == "a/u.usda" else set()  # perhaps a layer
    assert changed == {name} | also


def test_a_library_that_leads_up_counts_where_it_leads(root):
    (root / "a" / "b" / "c" / "deep.mtl").write_bytes(b"map_Kd ../../../other/z.png\n")
    before = states(root)["a/b/c/deep.obj"]
    touched(root / "other" / "z.png")
    assert states(root)["a/b/c/deep.obj"] != before


def test_files_behind_links_count(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "t.png").write_bytes(b"t")
    (root / "a" / "link").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "circle").symlink_to(root / "a")
    before = states(root)["a/y.obj"]
    touched(tmp_path / "elsewhere" / "t.png")
    assert states(root)["a/y.obj"] != before


def test_what_cannot_be_told_is_not(root, tmp_path):
    (tmp_path / "out.mtl").write_bytes(b"newmtl skin\n")
    (root / "a" / "x.obj").write_bytes(b"mtllib ../../out.mtl\n")
    assert sources_of(model(root, "a/x.obj"), Trees()) is None
    assert sources_of(model(root, "a/gone.stl"), Trees()) is None
