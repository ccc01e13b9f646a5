"""One model, written by Blender in every format that is read, comes back as the same model."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from assets.models import MESH_SUFFIXES

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed"),
]
SCRIPT = """
import json, sys
from pathlib import Path
import bpy
import numpy as np
from PIL import Image
from assets.store import AssetStore
from blender_scenes.blender import mesh_import

folder = Path(sys.argv[1])
bpy.ops.wm.read_factory_settings(use_empty=True)
Image.fromarray(np.full((8, 8, 3), (200, 30, 60), np.uint8)).save(folder / "skin.png")
bpy.ops.mesh.primitive_monkey_add()
monkey = bpy.context.object
monkey.rotation_euler, monkey.location = (0.3, 0.2, 0.1), (3, 2, 1)
skin = bpy.data.materials.new("skin")
skin.use_nodes = True
picture = skin.node_tree.nodes.new("ShaderNodeTexImage")
picture.image = bpy.data.images.load(str(folder / "skin.png"))
skin.node_tree.links.new(picture.outputs["Color"], skin.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
monkey.data.materials.append(skin)
at = lambda name: str(folder / name)
bpy.ops.export_scene.gltf(filepath=at("a.glb"))
bpy.ops.export_scene.gltf(filepath=at("a.gltf"), export_format="GLTF_SEPARATE")
bpy.ops.export_scene.fbx(filepath=at("a.fbx"))
for suffix in ("usd", "usda", "usdc", "usdz"):
    bpy.ops.wm.usd_export(filepath=at(f"a.{suffix}"), relative_paths=True)
bpy.ops.wm.obj_export(filepath=at("a.obj"), path_mode="COPY")
bpy.ops.wm.ply_export(filepath=at("a.ply"))
bpy.ops.wm.stl_export(filepath=at("a.stl"))
bpy.data.batch_remove([*bpy.data.objects, *bpy.data.meshes, *bpy.data.materials, *bpy.data.images])
store, results = AssetStore(folder / "store"), {}
for path in sorted(folder.glob("a.*")):
    if path.suffix in mesh_import.IMPORTERS:
        mesh, warnings = mesh_import.import_mesh(path, store)
        faces = mesh.vertices[mesh.faces]
        results[path.suffix] = {
            "faces": len(faces), "textures": mesh.textures, "warnings": warnings,
            "corners": faces.mean(axis=1)[np.lexsort(faces.mean(axis=1).round(3).T)].tolist(),
        }
mesh_import.MAX_TRIANGLES = 300
mesh, warnings = mesh_import.import_mesh(folder / "a.obj", store)
results["reduced"] = {"faces": len(mesh.faces), "textures": mesh.textures, "warnings": warnings}
(folder / "results.json").write_text(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_every_format_gives_the_same_model(results, suffix):
    expected, found = results[".obj"], results[suffix]
    assert found["faces"] == expected["faces"] == 968
    assert found["warnings"] == []
    assert found["textures"] == ([] if suffix in (".ply", ".stl") else expected["textures"])
    assert len(expected["textures"]) == 1
    a, b = (np.sort(np.array(each["corners"]), axis=0) for each in (expected, found))
    assert np.abs(a - b).max() < 2e-3


def test_meshes_with_too_many_triangles_are_reduced_and_that_is_said(results):
    reduced = results["reduced"]
    assert 200 < reduced["faces"] <= 310
    assert reduced["warnings"] == ["968 triangles were reduced to 300"]
    assert reduced["textures"] == results[".obj"]["textures"]
