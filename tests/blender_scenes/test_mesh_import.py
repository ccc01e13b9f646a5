import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.prepared import prepare_mesh
from assets.store import AssetStore, bytes_hash

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed"),
]

# A box of 1 x 2 x 3 with y up; its top wears an image, one side is glass, one is never seen.
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 3)], float)
QUADS = {"top": [2, 3, 7, 6], "bottom": [0, 4, 5, 1], "left": [0, 1, 3, 2], "right": [4, 6, 7, 5], "back": [0, 2, 6, 4]}
MATERIALS = {"top": "image", "bottom": "plain", "left": "glass", "right": "plain", "back": "ghost"}
MTL = """
newmtl image
Kd 1 1 1
map_Kd pictures/wood.png
map_d pictures/wood.png
newmtl plain
Kd 0.25 0.5 0.75
Ns 900
newmtl glass
Kd 0.9 0.9 0.9
d 0.4
newmtl ghost
d 0.0
"""

SCRIPT = """
import json, sys
from pathlib import Path
import bpy
from assets.models import Model
from assets.store import AssetStore
from blender_scenes.blender.mesh_import import import_mesh, prepare_model
from vosforge.errors import VOSForgeError

folder = Path(sys.argv[1])
store = AssetStore(folder / "store")
bpy.data.materials.new("plain")  # a name that is taken
counts = lambda: [len(getattr(bpy.data, name)) for name in ("objects", "meshes", "materials", "images")]
before, results = counts(), {}
for path in sorted((folder / "files").iterdir()):
    if path.is_file() and path.suffix not in (".mtl", ".png"):
        try:
            imported = import_mesh(path, store)
            again = import_mesh(path, store)
            assert again.mesh.content_hash() == imported.mesh.content_hash()
            results[path.name] = {"hash": store.put_mesh(imported.mesh), "warnings": imported.warnings}
        except VOSForgeError as error:
            results[path.name] = {"error": str(error)}
try:
    import_mesh(folder / "files" / "none.obj", store)
except VOSForgeError as error:
    results["none.obj"] = {"error": str(error)}
model = Model.model_validate_json((folder / "model.json").read_text())
asset, warnings = prepare_model(model, store)
results["pack"] = asset.model_dump()
results["left behind"] = [after - count for after, count in zip(counts(), before)]
(folder / "results.json").write_text(json.dumps(results))
"""


def box_obj(library="box.mtl"):
    lines = [f"mtllib {library}", *(f"v {x} {y} {z}" for x, y, z in CORNERS)]
    lines += ["vt 0 0", "vt 2 0", "vt 2 1", "vt 0 1"]
    for side, quad in QUADS.items():
        a, b, c = CORNERS[quad[:3]]
        normal = np.cross(b - a, c - b)
        lines.append("vn {:.4f} {:.4f} {:.4f}".format(*normal / np.linalg.norm(normal)))
        lines += [f"usemtl {MATERIALS[side]}", "f " + " ".join(f"{v + 1}/{i + 1}/-1" for i, v in enumerate(quad))]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("import")
    files = folder / "files"
    (files / "pictures").mkdir(parents=True)
    image = np.zeros((4, 4, 4), np.uint8)
    image[..., 0], image[..., 3] = 200, np.arange(4) * 80
    Image.fromarray(image).save(files / "pictures" / "wood.png")
    Image.fromarray(image).save(folder / "outside.png")
    (files / "broken.png").write_bytes(b"no image")
    (files / "box.mtl").write_text(MTL)
    (files / "box.obj").write_text(box_obj())
    for name, picture in {"missing": "none.png", "outside": "../outside.png", "broken": "broken.png"}.items():
        (files / f"{name}.mtl").write_text(MTL.replace("pictures/wood.png", picture))
        (files / f"{name}.obj").write_text(box_obj(f"{name}.mtl"))
    (files / "empty.obj").write_text("")
    (files / "points.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    (files / "junk.obj").write_bytes(np.random.default_rng(0).bytes(100_000))
    (files / "junk.ply").write_bytes(np.random.default_rng(1).bytes(5_000))
    (files / "junk.stl").write_bytes(np.random.default_rng(2).bytes(5_000))
    (files / "nan.obj").write_text("v 0 0 0\nv 1 NaN 0\nv 0 1 0\nv 1 1 1\nf 1 2 3\nf 1 3 4\n")
    (files / "inf.obj").write_text("v 0 0 0\nv 1 -inf 0\nv 0 1 0\nf 1 2 3\n")
    (files / "nano.obj").write_text("o nano info\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (files / "place.obj").write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    (files / "scene.blend").write_bytes(b"BLENDER")
    triangle = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 3 0 0\nvertex 0 4 1\nendloop\nendfacet\n"
    (files / "one.stl").write_text(f"solid x\n{triangle}endsolid x\n")
    header = "ply\nformat ascii 1.0\nelement vertex 3\n" + "".join(f"property float {axis}\n" for axis in "xyz")
    header += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    (files / "one.ply").write_text(header + "0 0 0\n3 0 0\n0 4 1\n3 0 1 2\n")
    with zipfile.ZipFile(folder / "pack.sh3f", "w") as archive:
        for path in (files / "box.obj", files / "box.mtl", files / "pictures" / "wood.png"):
            archive.write(path, f"models/{path.relative_to(files)}")
    model = {
        "source": "test/box", "name": "A box", "category": "Boxes", "licence": "CC0-1.0", "creator": "me",
        "path": str(folder / "pack.sh3f"), "member": "models/box.obj", "rotation": [],
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(model))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], cwd=ROOT, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:].decode(errors="replace")  # Blender echoes broken files
    return folder, json.loads((folder / "results.json").read_text()), AssetStore(folder / "store")


def expected_box():
    """The box by hand: z up, each quad two triangles; the side that no one sees is left out."""
    upright = np.stack([CORNERS[:, 0], -CORNERS[:, 2], CORNERS[:, 1]], axis=1)
    middle = (upright.min(axis=0) + upright.max(axis=0)) / 2
    return (upright - middle) / np.linalg.norm(np.ptp(upright, axis=0))


def test_an_obj_comes_back_as_it_was_written(imported):
    _, results, store = imported
    mesh = store.mesh(results["box.obj"]["hash"])
    assert results["box.obj"]["warnings"] == []
    assert len(mesh.faces) == 8 and len(mesh.materials) == 3
    seen = expected_box()
    corner_uv = {0: (0, 0), 1: (2, 0), 2: (2, 1), 3: (0, 1)}
    wanted = {
        side: {(tuple(seen[vertex].round(5) + 0.0), corner_uv[place]) for place, vertex in enumerate(quad)}
        for side, quad in QUADS.items()
        if side != "back"
    }
    found = {side: set() for side in wanted}
    for face, uv, material in zip(mesh.faces, mesh.corner_uv, mesh.material_index, strict=True):
        corners = mesh.vertices[face]
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        axis = int(np.abs(normal).argmax())
        side = {(2, 1): "top", (2, -1): "bottom", (0, -1): "left", (0, 1): "right"}[axis, int(np.sign(normal[axis]))]
        assert mesh.materials[material].name == MATERIALS[side]
        found[side] |= {(tuple(c.round(5) + 0.0), tuple(u)) for c, u in zip(corners.astype(float), uv, strict=True)}
    for side, corners in wanted.items():
        assert len(found[side]) == 4
        for (place, uv), (there, uv_there) in zip(sorted(found[side]), sorted(corners), strict=True):
            assert np.allclose(place, there, atol=2e-5) and np.allclose(uv, uv_there, atol=1e-5), side


def test_flat_sides_stay_flat(imported):
    _, results, store = imported
    mesh = store.mesh(results["box.obj"]["hash"])
    assert mesh.smooth.all() and len(mesh.vertices) == 16, "no vertex is shared across an edge of the box"


def test_materials_are_read(imported):
    folder, results, store = imported
    materials = {each.name: each for each in store.mesh(results["box.obj"]["hash"]).materials}
    picture = (folder / "files" / "pictures" / "wood.png").read_bytes()
    assert materials["image"].texture == bytes_hash(picture) and materials["image"].cutout
    assert store.image_path(bytes_hash(picture)).read_bytes() == picture
    assert materials["plain"].base_color == pytest.approx((0.25, 0.5, 0.75), abs=1e-5)
    assert materials["plain"].alpha == 1 and materials["plain"].roughness < 0.2 and materials["plain"].texture is None
    assert materials["glass"].alpha == pytest.approx(0.4) and not materials["glass"].cutout


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing", ("none.png", "missing")), ("outside", ("outside.png", "lies outside")), ("broken", ("broken.png",))],
)
def test_an_image_that_cannot_be_used_is_named(imported, name, words):
    folder, results, store = imported
    [warning] = results[f"{name}.obj"]["warnings"]
    assert all(word in warning for word in words) and "\n" not in warning
    assert store.mesh(results[f"{name}.obj"]["hash"]).textures == ()
    assert len(list((folder / "store" / "images").rglob("*.png"))) == 1


@pytest.mark.parametrize(
    "name",
    [
        "empty.obj",
        "points.obj",
        "junk.obj",
        "junk.ply",
        "junk.stl",
        "nan.obj",
        "inf.obj",
        "place.obj",
        "scene.blend",
        "none.obj",
    ],
)
def test_what_is_no_mesh_is_refused_in_one_line(imported, name):
    _, results, _ = imported
    assert name in results[name]["error"] and "\n" not in results[name]["error"]
    assert ": " in results[name]["error"], "names the remedy"


def test_a_name_is_not_taken_for_a_number(imported):
    assert "hash" in imported[1]["nano.obj"]


@pytest.mark.parametrize("name", ["one.stl", "one.ply"])
def test_stl_and_ply_keep_their_axes(imported, name):
    _, results, store = imported
    triangle = prepare_mesh("one", [[0, 0, 0], [3, 0, 0], [0, 4, 1]], [[0, 1, 2]])
    mesh = store.mesh(results[name]["hash"])
    assert np.allclose(mesh.vertices[mesh.faces[0]], triangle.vertices, atol=1e-6)


def test_a_pack_model_becomes_an_asset(imported):
    _, results, _ = imported
    asset = results["pack"]
    assert asset["hash"] == results["box.obj"]["hash"] and asset["source"] == "test/box"
    assert (asset["name"], asset["category"], asset["licence"], asset["creator"]) == ("A box", "Boxes", "CC0-1.0", "me")
    assert len(asset["textures"]) == 1


def test_nothing_is_left_in_blender(imported):
    _, results, _ = imported
    assert results["left behind"] == [0, 0, 0, 0]
