"""What mesh files can say of shapes and looks comes through; what does not is named."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.store import AssetStore, bytes_hash
from tests.blender_scenes.gltf_files import GLB, QUAD, QUAD_UV

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed"),
]
PICTURE = np.zeros((4, 4, 4), np.uint8)
PICTURE[..., 0], PICTURE[..., 1], PICTURE[..., 3] = 200, np.arange(4) * 60, np.arange(4)[:, None] * 80
RGB = np.ascontiguousarray(PICTURE[..., :3])
COLORS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32)
MATRIX = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]

SCRIPT = """
import json, sys
from pathlib import Path
from assets.store import AssetStore
from blender_scenes.blender.mesh_import import import_mesh
from vosforge.errors import InputError

folder, results = Path(sys.argv[1]), {}
store = AssetStore(folder / "store")
for path in sorted(folder.glob("files/*.*")):
    if path.suffix not in (".mtl", ".png"):
        try:
            mesh, warnings = import_mesh(path, store)
            results[path.stem] = {"hash": store.put_mesh(mesh), "warnings": warnings}
        except InputError as error:
            results[path.stem] = {"error": str(error)}
(folder / "results.json").write_text(json.dumps(results))
"""


def pbr(glb, color=None, factor=None, **more):
    """A material with a base colour texture and factor."""
    info = {} if color is None else {"baseColorTexture": color if isinstance(color, dict) else {"index": color}}
    return glb.add(
        "materials",
        {"pbrMetallicRoughness": info | ({} if factor is None else {"baseColorFactor": factor}), **more},
    )


def plain(glb):
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(RGB))))


def factor(glb):
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(RGB), [0.5, 0.25, 1, 1])))


def unlit(glb):
    glb.json["extensionsUsed"] = ["KHR_materials_unlit"]
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(RGB), extensions={"KHR_materials_unlit": {}})))


def painted(glb):
    glb.node(mesh=glb.mesh(pbr(glb, factor=[0.5, 1, 1, 1]), (), COLOR_0=glb.array(COLORS)))


def painted_picture(glb):
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(RGB)), COLOR_0=glb.array(COLORS)))


def white_paint(glb):
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(RGB)), COLOR_0=glb.array(np.ones((4, 3), np.float32))))


def bare_paint(glb):
    glb.node(mesh=glb.mesh(None, (), COLOR_0=glb.array(COLORS)))


def mask(glb):
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(PICTURE), alphaMode="MASK", alphaCutoff=0.4)))


def blend(glb):
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(PICTURE), alphaMode="BLEND")))


def faint(glb):
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(PICTURE), [1, 1, 1, 0.5], alphaMode="BLEND")))


def opaque(glb):
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(PICTURE))))


def glass(glb):
    glb.json["extensionsUsed"] = ["KHR_materials_transmission"]
    glb.node(mesh=glb.mesh(pbr(glb, extensions={"KHR_materials_transmission": {"transmissionFactor": 1.0}})))


def second_uv(glb):
    picture = {"index": glb.texture(RGB), "texCoord": 1}
    glb.node(mesh=glb.mesh(pbr(glb, picture), (QUAD_UV, QUAD_UV / 4)))


def transformed(glb):
    moved = {"offset": [0.25, 0.5], "rotation": 0.5, "scale": [2, 3]}
    glb.json["extensionsUsed"] = ["KHR_texture_transform"]
    picture = {"index": glb.texture(RGB), "extensions": {"KHR_texture_transform": moved}}
    glb.node(mesh=glb.mesh(pbr(glb, picture)))


def emission(glb):
    light = {"emissiveTexture": {"index": glb.texture(RGB)}, "emissiveFactor": [1, 1, 1]}
    glb.node(mesh=glb.mesh(pbr(glb, factor=[0, 0, 0, 1], **light)))


def clamped(glb):
    glb.node(mesh=glb.mesh(pbr(glb, glb.texture(RGB, wrapS=33071, wrapT=33071)), (QUAD_UV * 2,)))


def two_scenes(glb):
    mesh = glb.mesh(None)
    glb.node(mesh=mesh)
    other = glb.node(scene=False, mesh=mesh, translation=[5, 0, 0])
    glb.json["scenes"].append({"nodes": [other]})


def second_scene_first(glb):
    two_scenes(glb)
    glb.json["scene"] = 1
    glb.json["nodes"][1]["scale"] = [3, 1, 1]


def morphed(glb):
    glb.node(mesh=glb.mesh(None))
    [primitive] = glb.json["meshes"][0]["primitives"]
    away = np.zeros_like(QUAD)
    away[2:, 1] = 2
    primitive["targets"] = [{"POSITION": glb.array(away)}]
    glb.json["meshes"][0]["weights"] = [1.0]


def skinned(glb):
    joints, weights = np.zeros((4, 4), np.uint8), np.eye(4, dtype=np.float32)[[0, 0, 0, 0]]
    mesh = glb.mesh(None, JOINTS_0=glb.array(joints), WEIGHTS_0=glb.array(weights))
    bone = glb.node(translation=[0, 0, 0])
    skin = {"joints": [bone], "inverseBindMatrices": glb.array(np.array([MATRIX], np.float32))}
    glb.node(mesh=mesh, skin=glb.add("skins", skin))


def instanced(glb):
    mesh = glb.mesh(None)
    for x in (0, 5, 10):
        glb.node(mesh=mesh, translation=[x, 0, 0])


LOOKS = (plain, factor, unlit, painted, painted_picture, white_paint, bare_paint, mask, blend, faint, opaque, glass)
PLACES = (second_uv, transformed, emission, clamped, two_scenes, second_scene_first, morphed, skinned, instanced)
MADE = {make.__name__: make for make in (*LOOKS, *PLACES)}
TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
STL = "solid x\nfacet normal 0 0 1\nouter loop\nvertex {}\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\nendsolid x\n"


def ply(kind, vertices, faces):
    """A PLY file of triangles, as text or in binary."""
    header = f"ply\nformat {kind} 1.0\nelement vertex {len(vertices)}\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    header += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    if kind == "ascii":
        rows = [" ".join(map(repr, row)) for row in np.array(vertices).tolist()]
        rows += [" ".join(map(str, (len(face), *face))) for face in faces]
        return (header + "\n".join(rows) + "\n").encode()
    order = "<" if "little" in kind else ">"
    body = np.array(vertices, f"{order}f8").tobytes()
    for face in faces:
        body += np.uint8(len(face)).tobytes() + np.array(face, f"{order}i4").tobytes()
    return header.encode() + body


UTM = np.array([448262.125, 5411945.25, 300.0])
BUMPY = np.random.default_rng(0).random((30, 3))
BUMPY_FACES = np.arange(30).reshape(10, 3)


def text_files():
    """Mesh files by name: what is wrong with them, or that nothing is."""

    def obj(points):
        lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in points.tolist()]
        return "\n".join([*lines, *(f"f {a + 1} {b + 1} {c + 1}" for a, b, c in BUMPY_FACES.tolist())])

    files = {
        "near.obj": obj(BUMPY),
        "far.obj": obj(BUMPY + UTM),
        "info.obj": f"# inf nan\no nano\n{TRIANGLE}f 1 2 3\n",
        "back.obj": f"{TRIANGLE}f -3 -2 -1\n",
        "lost_mtl.obj": f"mtllib none.mtl\nusemtl a\n{TRIANGLE}f 1 2 3\n",
        "other_case.obj": f"mtllib COLORS.MTL\nusemtl red\n{TRIANGLE}f 1 2 3\n",
        "painted_obj.obj": "v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1 0 1 0 0\nf 1 2 3\n",
        "nan0.obj": f"v nan 0 0\n{TRIANGLE}f 2 3 4\n",
        "nan1.obj": f"v 0 -nan(ind) 0\n{TRIANGLE}f 2 3 4\n",
        "nan2.obj": f"v 0 0 1.#INF\n{TRIANGLE}f 2 3 4\n",
        "high.obj": f"{TRIANGLE}f 1 2 3\nf 1 2 9\n",
        "zero.obj": f"{TRIANGLE}f 1 2 3\nf 0 1 2\n",
        "before.obj": f"{TRIANGLE}f -4 -2 -1\n{TRIANGLE}",
        "nan3.stl": STL.format("nan 0 0"),
        "nan4.stl": STL.format("0 0 inf"),
    }  # fmt: skip
    found = {name: text.encode() for name, text in files.items()}
    far = "solid x\n" + "".join(
        "facet normal 0 0 1\nouter loop\n"
        + "".join("vertex {!r} {!r} {!r}\n".format(*(BUMPY[v] + UTM).tolist()) for v in face)
        + "endloop\nendfacet\n"
        for face in BUMPY_FACES
    )
    found["far_stl.stl"] = f"{far}endsolid x\n".encode()
    binary = np.zeros(1, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    binary["corners"][0] = [[np.nan, 0, 0], [1, 0, 0], [0, 1, 0]]
    found["nan5.stl"] = bytes(80) + np.uint32(1).tobytes() + binary.tobytes()
    for name, kind in {"text": "ascii", "little": "binary_little_endian", "big": "binary_big_endian"}.items():
        found[f"far_{name}.ply"] = ply(kind, BUMPY + UTM, BUMPY_FACES.tolist())
        found[f"nan_{name}.ply"] = ply(kind, [[0, np.nan, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]], [[1, 2, 3]])
        found[f"high_{name}.ply"] = ply(kind, [[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2], [0, 1, 2, 7]])
        found[f"cut_{name}.ply"] = ply(kind, BUMPY, BUMPY_FACES.tolist())[:400]
    return found


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    (folder / "files").mkdir()
    for name, make in MADE.items():
        glb = GLB()
        make(glb)
        glb.write(folder / "files" / f"{name}.glb")
    for name, data in text_files().items():
        (folder / "files" / name).write_bytes(data)
    (folder / "files" / "colors.mtl").write_text("newmtl red\nKd 1 0 0\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], cwd=ROOT, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:].decode(errors="replace")
    results, store = json.loads((folder / "results.json").read_text()), AssetStore(folder / "store")

    def get(name):
        assert "error" not in results[name], results[name]
        mesh = store.mesh(results[name]["hash"])
        picture = None
        if mesh.materials[0].texture is not None:
            with Image.open(store.image_path(mesh.materials[0].texture)) as image:
                picture = np.asarray(image)
        return mesh, picture, results[name]["warnings"]

    return get, results


def linear(rgb):
    values = rgb / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def flat(get, name):
    """The corners ``[F, 3, 3]`` of a mesh, for comparisons that do not depend on its vertices' order."""
    mesh, _, _ = get(name)
    return mesh.vertices[mesh.faces]


@pytest.mark.parametrize("name", ["plain", "unlit", "white_paint", "second_uv", "transformed", "opaque", "emission"])
def test_a_picture_that_is_shown_as_it_is_keeps_its_bytes(imported, name):
    get, _ = imported
    mesh, picture, _ = get(name)
    wanted = PICTURE if name == "opaque" else RGB
    assert np.array_equal(picture, wanted) and mesh.corner_color is None
    assert not mesh.materials[0].cutout and mesh.materials[0].alpha == 1


def test_a_factor_multiplies_light(imported):
    _, picture, warnings = imported[0]("factor")
    assert np.allclose(linear(picture), linear(RGB) * [0.5, 0.25, 1], atol=0.006) and warnings == []


def test_vertex_colours_multiply(imported):
    get, _ = imported
    for name, base in {"painted": (0.5, 1, 1), "painted_picture": None, "bare_paint": (1, 1, 1)}.items():
        mesh, picture, warnings = get(name)
        found = {tuple(color) for color in mesh.corner_color.reshape(-1, 3).round(2).tolist()}
        assert found == {tuple(color) for color in COLORS.tolist()} and warnings == []
        assert (picture is None) if base else np.array_equal(picture, RGB)
        assert base is None or mesh.materials[0].base_color == pytest.approx(base)
    mesh, _, _ = get("painted_obj")
    assert (mesh.corner_color == [1, 0, 0]).all()


def test_alpha_cuts_out_where_the_file_says_so(imported):
    get, _ = imported
    cut, picture, _ = get("mask")
    assert cut.materials[0].cutout and cut.materials[0].cutoff == pytest.approx(0.4)
    assert np.array_equal(picture, PICTURE)
    mesh, picture, _ = get("blend")
    assert mesh.materials[0].cutout and mesh.materials[0].cutoff is None and np.array_equal(picture, PICTURE)
    mesh, picture, _ = get("faint")
    assert mesh.materials[0].cutout and np.allclose(picture[..., 3], PICTURE[..., 3] / 2, atol=0.6)


def test_glass_is_a_surface_with_its_own_label(imported):
    assert imported[0]("glass")[0].materials[0].solid


def test_texture_coordinates_are_those_of_the_picture(imported):
    get, _ = imported
    assert np.allclose(np.ptp(get("second_uv")[0].corner_uv.reshape(-1, 2), axis=0), 0.25)
    mesh, _, _ = get("transformed")
    turn, u, v = 0.5, QUAD_UV[:, 0] * 2, QUAD_UV[:, 1] * 3  # KHR_texture_transform: scale, then rotate, then move
    wanted_u, wanted_v = np.cos(turn) * u + np.sin(turn) * v + 0.25, -np.sin(turn) * u + np.cos(turn) * v + 0.5
    order = [tuple(corner) for corner in mesh.vertices[mesh.faces].reshape(-1, 3).astype(float).round(3).tolist()]
    places = dict(zip(order, mesh.corner_uv.reshape(-1, 2), strict=True))
    quad = (QUAD - QUAD.mean(0)) @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]) / np.sqrt(2)
    for corner, a, b in zip(quad, wanted_u, wanted_v, strict=True):
        found = places[tuple((corner.astype(float).round(3) + 0.0).tolist())]
        assert np.allclose(found, (a, 1 - b), atol=1e-4)


def test_what_is_not_shown_as_it_is_meant_is_said(imported):
    get, _ = imported
    assert "its emission is rendered as its colour" in get("emission")[2][0]
    assert "repeated instead" in get("clamped")[2][0]
    assert "none.mtl" in get("lost_mtl")[2][0]


def test_a_library_in_another_letter_case_is_found(imported):
    assert imported[0]("other_case")[0].materials[0].base_color == (1, 0, 0)


@pytest.mark.parametrize(
    ("name", "faces", "extent"),
    [
        ("two_scenes", 2, (1, 0, 1)),
        ("second_scene_first", 2, (3, 0, 1)),
        ("morphed", 2, (1, 0, 3)),
        ("skinned", 2, (1, 0, 1)),
        ("instanced", 6, (11, 0, 1)),
    ],
)
def test_shapes_are_what_would_be_rendered(imported, name, faces, extent):
    mesh, _, warnings = imported[0](name)
    assert len(mesh.faces) == faces and warnings == []
    assert np.allclose(np.ptp(mesh.vertices, axis=0), np.array(extent) / np.linalg.norm(extent), atol=1e-5)


@pytest.mark.parametrize("name", ["far", "far_stl", "far_text", "far_little", "far_big"])
def test_coordinates_far_from_the_origin_stay_exact(imported, name):
    get, _ = imported
    corners = BUMPY[BUMPY_FACES]
    if name == "far":
        corners = corners @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # y up
    corners = corners - (corners.reshape(-1, 3).min(0) + corners.reshape(-1, 3).max(0)) / 2
    corners /= np.linalg.norm(np.ptp(corners.reshape(-1, 3), axis=0))
    found = flat(get, name)
    assert len(found) == len(corners)
    for face in corners:
        assert min(abs(found - face).max(axis=(1, 2))) < 2e-6
    assert get(name)[2] == []


@pytest.mark.parametrize("name", ["info", "back"])
def test_what_only_looks_wrong_is_taken(imported, name):
    assert len(flat(imported[0], name)) == 1


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["nan0", "nan1", "nan2", "nan3", "nan4", "nan5", "nan_text", "nan_little", "nan_big"], "NaN or infinite"),
        (["high", "zero", "before", "high_text", "high_little", "high_big"], "has a face with vertex"),
        (["cut_text", "cut_little", "cut_big"], "truncated"),
    ],
)
def test_what_is_wrong_is_refused_by_name(imported, names, words):
    for name in names:
        assert words in imported[1][name].get("error", ""), (name, imported[1][name])


def test_pictures_of_other_kinds_are_kept_as_png(tmp_path):
    store = AssetStore(tmp_path)
    for suffix in (".gif", ".avif", ".jp2"):
        path = tmp_path / f"picture{suffix}"
        Image.fromarray(RGB).resize((32, 32), Image.Resampling.NEAREST).save(path)
        kept = store.image_path(store.put_image(path.read_bytes(), suffix))
        with Image.open(kept) as image, Image.open(path) as original:
            assert kept.suffix == ".png" and np.array_equal(image.convert("RGB"), original.convert("RGB"))
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    with Image.open(store.image_path(store.put_image((tmp_path / "deep.png").read_bytes(), ".png"))) as image:
        assert np.array_equal(np.asarray(image), np.rint(deep / 257).astype(np.uint8))
    Image.fromarray(RGB).save(tmp_path / "same.png")
    data = (tmp_path / "same.png").read_bytes()
    assert store.put_image(data, ".png") == bytes_hash(data)
