import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.store import AssetStore, bytes_hash

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed"),
]

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl m\nf 1/1 2/2 3/3 4/4\n"
MTLS = {
    "above": "map_Kd ../images/wood.png",
    "outside": "map_Kd ../../../outside.png",
    "backslash": "map_Kd ..\\images\\wood.png",
    "case": "map_Kd ../Images/WOOD.png",
    "drive": "map_Kd C:\\work\\beside.png",
}

SCRIPT = """
import json, sys
from pathlib import Path
from assets.folders import folder_models
from assets.store import AssetStore
from blender_scenes.blender.mesh_import import prepare_model

folder = Path(sys.argv[1])
store, results = AssetStore(folder / "store"), {}
for model in folder_models(folder / "root"):
    asset, warnings = prepare_model(model, store)
    results[model.name] = {"hash": asset.hash, "warnings": warnings}
(folder / "results.json").write_text(json.dumps(results))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("materials")
    meshes = folder / "root" / "chair" / "models"
    meshes.mkdir(parents=True)
    (folder / "root" / "chair" / "images").mkdir()
    Image.fromarray(np.full((4, 4, 3), (200, 100, 50), np.uint8)).save(folder / "root/chair/images/wood.png")
    Image.fromarray(np.full((4, 4, 3), (20, 100, 50), np.uint8)).save(meshes / "beside.png")
    Image.fromarray(np.full((4, 4, 3), (2, 100, 50), np.uint8)).save(folder / "outside.png")
    for name, line in MTLS.items():
        (meshes / f"{name}.obj").write_text(f"mtllib {name}.mtl\n{SQUARE}")
        (meshes / f"{name}.mtl").write_text(f"newmtl m\nKd 1 1 1\n{line}\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], cwd=ROOT, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:].decode(errors="replace")
    return folder, json.loads((folder / "results.json").read_text()), AssetStore(folder / "store")


@pytest.mark.parametrize("name", ["above", "backslash", "case", "drive"])
def test_an_image_anywhere_in_the_users_folder_is_found(imported, name):
    folder, results, store = imported
    picture = folder / "root" / "chair" / ("models/beside.png" if name == "drive" else "images/wood.png")
    assert results[name]["warnings"] == []
    assert store.mesh(results[name]["hash"]).textures == (bytes_hash(picture.read_bytes()),)


def test_an_image_outside_the_users_folder_is_not_read(imported):
    _, results, store = imported
    [warning] = results["outside"]["warnings"]
    assert "outside.png lies outside" in warning
    assert store.mesh(results["outside"]["hash"]).textures == ()
