"""Shape keys of mesh files: an imported mesh moves as glTF's own arithmetic moves the file's."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from assets.store import AssetStore
from blender_scenes.deforming import shaped
from blender_scenes.object_spec import BakedMotion, MorphMotion, ObjectSpec
from tests.blender_scenes.gltf_files import GLB, QUAD, QUAD_FACES

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed"),
]
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""From glTF's axes to those of a prepared mesh."""
PLACE, TURN, SCALE = np.array([3.0, 1.0, -2.0]), Rotation.from_euler("xyz", [0.4, 0.2, -0.3]), 2.0
RISE = np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]], np.float32)
SPREAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0.2, 0, 0], [0, 0.3, 0]], np.float32)
WEIGHTS = [0.25, 0.75]
SCRIPT = """
import json, sys
from pathlib import Path
import bpy
from assets.store import AssetStore
from blender_scenes.blender import mesh_import

folder = Path(sys.argv[1])
bpy.ops.wm.read_factory_settings(use_empty=True)
store, results = AssetStore(folder / "store"), {}

def take(path):
    mesh, warnings = mesh_import.import_mesh(path, store)
    results[path.name] = {"hash": store.put_mesh(mesh), "warnings": warnings}

take(folder / "face.glb")
mesh_import.MAX_TRIANGLES = 3
take(folder / "face.glb".replace("face", "reduced"))
mesh_import.MAX_TRIANGLES = 1000

def twice(path, read=mesh_import.IMPORTERS[".glb"]):
    read(path)
    group, copy = bpy.data.collections.new("group"), bpy.data.objects.new("copy", None)
    for obj in [each for each in bpy.data.objects if each.type == "MESH"]:
        group.objects.link(obj)
    copy.instance_type, copy.instance_collection, copy.location = "COLLECTION", group, (5, 0, 0)
    bpy.context.scene.collection.objects.link(copy)

mesh_import.IMPORTERS[".glb"] = twice
take(folder / "copied.glb")
(folder / "results.json").write_text(json.dumps(results))
"""


def face(path):
    """A face of two shape keys and teeth of one, and an anchor without any."""
    glb = GLB()
    for targets, names, at in (((RISE, SPREAD), ("rise", "spread"), 0.0), ((RISE,), ("rise",), 2.0), ((), (), 4.0)):
        primitive = {
            "attributes": {"POSITION": glb.array(QUAD)},
            "indices": glb.array(QUAD_FACES),
            "targets": [{"POSITION": glb.array(target)} for target in targets],
        }
        mesh = {"primitives": [primitive], "weights": WEIGHTS[: len(targets)], "extras": {"targetNames": list(names)}}
        if not targets:
            mesh = {"primitives": [{key: primitive[key] for key in ("attributes", "indices")}]}
        place = (PLACE + np.array([at, 0, 0])).tolist()
        node = {"translation": place, "rotation": TURN.as_quat().tolist(), "scale": [SCALE] * 3}
        glb.node(mesh=glb.add("meshes", mesh), **node)
    glb.write(path)


def places(rise, spread):
    """Where the file's vertices are with these weights, z up, in metres: the face's, the teeth's, the anchor's."""
    own = [QUAD + rise * RISE + spread * SPREAD, QUAD + rise * RISE, QUAD]
    shifts = [[0, 0, 0], [2, 0, 0], [4, 0, 0]]
    return np.concatenate(
        [
            (SCALE * TURN.apply(points.astype(float)) + PLACE + shift) @ Z_UP.T
            for points, shift in zip(own, shifts, strict=True)
        ]
    )


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("morphs")
    for name in ("face", "reduced", "copied"):
        face(folder / f"{name}.glb")
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results, store = json.loads((folder / "results.json").read_text()), AssetStore(folder / "store")
    return {name: (store.mesh(found["hash"]), found["warnings"]) for name, found in results.items()}


def test_shape_keys_move_the_mesh_as_gltf_says(imported):
    mesh, warnings = imported["face.glb"]
    assert not warnings and len(mesh.morphs) == 2
    rest = places(*WEIGHTS)
    size = np.linalg.norm(np.ptp(rest, axis=0))
    middle = (rest.min(axis=0) + rest.max(axis=0)) / 2
    order = [int(np.abs((rest - middle) / size - vertex).sum(axis=1).argmin()) for vertex in mesh.vertices]
    assert set(order) == set(range(12))
    for more in ((0.5, 0.0), (0.0, -0.75), (0.6, 0.2)):
        motions = tuple(MorphMotion(morph=n, weight=(weight,)) for n, weight in enumerate(more))
        pose = BakedMotion(poses=(tuple(tuple(row) for row in np.eye(4).tolist()),))
        item = ObjectSpec(mesh="0" * 32, category="face", motion=pose, morphs=motions)
        assert not item.rigid
        expected = (places(*np.add(WEIGHTS, more)) - middle) / size
        assert np.allclose(shaped(item, mesh, 0.5), expected[order], atol=2e-5)
    item = item.model_copy(update={"morphs": (MorphMotion(morph=0, weight=(0.0, 1.0)),)})
    assert np.allclose(shaped(item, mesh, 0.0), mesh.vertices) and not np.allclose(
        shaped(item, mesh, 1.0), mesh.vertices
    )


def test_shape_keys_that_cannot_be_kept_are_said(imported):
    mesh, warnings = imported["reduced.glb"]
    assert mesh.morphs is None and any("a modifier changes the triangles of" in line for line in warnings)
    mesh, warnings = imported["copied.glb"]
    moving = np.abs(mesh.morphs).max(axis=(0, 2)) > 0
    assert any("its copies do not have its shape keys" in line for line in warnings)
    assert moving.sum() == (np.abs(imported["face.glb"][0].morphs).max(axis=(0, 2)) > 0).sum()
