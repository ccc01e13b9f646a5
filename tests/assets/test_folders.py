import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.catalog import Asset
from assets.folders import folder_models, hdri_assets, image_assets, unread_files
from assets.store import AssetStore
from vosforge.errors import InputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_mesh_files_are_found_wherever_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "chairs/b.OBJ", "chairs/b.mtl", "a.glb", "chairs/old/c.fbx", "quarantine/d.obj", "e.blend", "f.txt")
    (tmp_path / "credits.yaml").write_text("licence: CC0-1.0\ncreator: A. Maker\n")
    models = folder_models(tmp_path)
    assert [(model.name, model.category) for model in models] == [("a", tmp_path.name), ("b", "chairs"), ("c", "old")]
    assert {(model.licence, model.creator) for model in models} == {("CC0-1.0", "A. Maker")}
    assert models[1].source == f"{tmp_path.name}/chairs/b.OBJ"
    assert unread_files(tmp_path) == [tmp_path / "e.blend"]


def test_shapenets_layout_is_known(tmp_path: Path) -> None:
    touch(tmp_path, "02691156/10155/models/model_normalized.obj", "02691156/10155/models/other.obj")
    touch(tmp_path, "03001627/abc/models/model_normalized.obj", "03001627/readme.obj")
    (tmp_path / "taxonomy.json").write_text(json.dumps([{"synsetId": "02691156", "name": "airplane,aeroplane"}]))
    models = folder_models(tmp_path)
    assert [(model.name, model.category) for model in models] == [("10155", "airplane"), ("abc", "03001627")]
    assert models[0].licence == "unknown"


def test_images_become_textures_and_broken_ones_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(folder / "good.png")
    (folder / "bad.jpg").write_bytes(b"no image")
    (folder / "bad.exr").write_bytes(b"no image")
    store = AssetStore(tmp_path / "store")
    (bad_path, bad), (_, good) = image_assets(folder, store)
    assert isinstance(good, Asset) and good.kind == "texture" and store.image_path(good.hash).exists()
    assert bad_path.name == "bad.jpg" and isinstance(bad, InputError) and "bad.jpg" in str(bad)
    [(_, hdri)] = hdri_assets(folder, store)
    assert isinstance(hdri, InputError) and "bad.exr" in str(hdri)


@pytest.mark.parametrize(
    ("credits", "reason"), [("licence: [1]\n", "'licence' cannot be"), ("license: x\n", "did you mean 'licence'")]
)
def test_bad_credits_are_named(tmp_path: Path, credits: str, reason: str) -> None:
    (tmp_path / "credits.yaml").write_text(credits)
    with pytest.raises(InputError, match=reason):
        folder_models(tmp_path)


def test_a_missing_folder_and_a_broken_taxonomy_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        folder_models(tmp_path / "none")
    touch(tmp_path, "02691156/10155/models/model_normalized.obj", "taxonomy.json")
    with pytest.raises(InputError, match=r"taxonomy\.json is not"):
        folder_models(tmp_path)
