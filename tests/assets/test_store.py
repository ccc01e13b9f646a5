import io
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from PIL import Image

from assets.catalog import Asset
from assets.prepared import Material, prepare_mesh
from assets.store import AssetStore, bytes_hash
from vosforge.errors import InputError, MachineError, VOSForgeError
from vosforge.files import cache_dir


def small_mesh(texture=None, uv=True):
    rng = np.random.default_rng(3)
    faces = rng.permutation(30).reshape(10, 3)
    materials = [Material(name="größe", base_color=(0.1, 0.2, 1 / 3)), Material(texture=texture)]
    return prepare_mesh(
        "small", rng.random((30, 3)), faces, rng.random((10, 3, 2)) if uv else None, rng.random(10) < 0.5,
        np.arange(10) % 2, materials,
    )  # fmt: skip


def small_image(mode="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(buffer, mode)
    return buffer.getvalue()


@pytest.mark.parametrize("uv", [True, False])
def test_a_mesh_comes_back_bit_for_bit(tmp_path, uv):
    mesh = small_mesh(texture="f" * 32, uv=uv)
    content = AssetStore(tmp_path).put_mesh(mesh)
    back = AssetStore(tmp_path).mesh(content)
    assert content == mesh.content_hash() == back.content_hash()
    assert back.materials == mesh.materials and back.textures == ("f" * 32,)
    assert mesh.arrays().keys() == back.arrays().keys()
    for name, array in mesh.arrays().items():
        assert back.arrays()[name].dtype == array.dtype and np.array_equal(back.arrays()[name], array)


def test_images_and_hdris_keep_their_bytes(tmp_path):
    store = AssetStore(tmp_path / "store")
    data = small_image("JPEG")
    content = store.put_image(data, ".JPEG")
    assert content == bytes_hash(data)
    path = AssetStore(store.root).image_path(content)
    assert path.read_bytes() == data and path.suffix == ".jpg"
    hdri = tmp_path / "sky.exr"
    hdri.write_bytes(b"\x76\x2f\x31\x01rest")
    assert store.hdri_path(store.put_hdri(hdri)).read_bytes() == hdri.read_bytes()


def test_refuses_what_is_no_image(tmp_path):
    store = AssetStore(tmp_path / "store")
    for data, suffix in ((b"junk", ".png"), (small_image()[:60], ".png"), (small_image(), ".exe"), (b"", ".jpg")):
        with pytest.raises(InputError, match=f"\\{suffix}"):
            store.put_image(data, suffix)
    (tmp_path / "text.hdr").write_text("hello")
    with pytest.raises(InputError, match=r"text\.hdr"):
        store.put_hdri(tmp_path / "text.hdr")
    with pytest.raises(InputError, match=r"missing\.exr"):
        store.put_hdri(tmp_path / "missing.exr")
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_what_is_missing_is_named(tmp_path):
    store = AssetStore(tmp_path)
    for read in (store.mesh, store.image_path, store.hdri_path):
        with pytest.raises(VOSForgeError, match=r"abcd.*prepare the assets again"):
            read("abcd")


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "swapped"])
def test_damage_is_named_and_mended_by_preparing_again(tmp_path, damage):
    store = AssetStore(tmp_path)
    mesh, image = small_mesh(), small_image()
    contents = {"mesh": store.put_mesh(mesh), "image_path": store.put_image(image, ".png")}
    other = store.put_mesh(small_mesh(uv=False))
    for path in [path for path in tmp_path.rglob("*.*") if other not in path.name]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        whole = path.read_bytes()
        spoilt = {"cut": whole[: len(whole) // 2], "flipped": bytes(data), "emptied": b""}
        swapped = (tmp_path / "meshes" / other[:2] / f"{other}.npz").read_bytes()
        path.write_bytes(spoilt.get(damage, swapped))
    for method, content in contents.items():
        with pytest.raises(VOSForgeError, match=f"{content}.* is damaged.*delete it"):
            getattr(AssetStore(tmp_path), method)(content)
    again = AssetStore(tmp_path)
    again.put_mesh(mesh)
    again.put_image(image, ".png")
    assert AssetStore(tmp_path).mesh(contents["mesh"]).content_hash() == contents["mesh"]
    assert AssetStore(tmp_path).image_path(contents["image_path"]).read_bytes() == image


def _put_many(root):
    store = AssetStore(root)
    for _ in range(20):
        store.put_mesh(small_mesh())
    return store.put_mesh(small_mesh())


def test_processes_may_write_the_same_content(tmp_path):
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        contents = list(pool.map(_put_many, [tmp_path] * 4))
    assert len(set(contents)) == 1 and len(list(tmp_path.rglob("*.*"))) == 1
    store = pickle.loads(pickle.dumps(AssetStore(tmp_path)))
    assert store.mesh(contents[0]).content_hash() == contents[0]


def test_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VOSFORGE_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path and AssetStore().root == tmp_path / "store"
    monkeypatch.delenv("VOSFORGE_CACHE")
    assert cache_dir().name == "vosforge"


def test_a_store_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot create the asset store"):
        AssetStore(tmp_path / "file" / "store")


def test_an_asset_travels_to_another_store_whole_or_not_at_all(tmp_path):
    here, there = AssetStore(tmp_path / "here"), AssetStore(tmp_path / "there")
    image = here.put_image(small_image(), ".png")
    words = dict.fromkeys(("name", "category", "source", "licence", "creator"), "x")
    content = here.put_mesh(small_mesh(texture=image))
    asset = Asset(hash=content, kind="mesh", **words, textures=(image,))
    files = here.packed(asset)
    for name, data in files.items():
        with pytest.raises(MachineError, match="arrived damaged"):
            there.unpack(asset, {**files, name: data[: len(data) // 2]})
        with pytest.raises(MachineError, match="arrived damaged"):
            there.unpack(asset, {**files, f"../{name}": data})
        assert not there.holds(asset)
    with pytest.raises(MachineError, match="did not arrive"):
        there.unpack(asset, {name: data for name, data in files.items() if name.endswith(".png")})
    there.unpack(asset, files)
    assert there.holds(asset) and there.packed(asset) == files
    assert there.mesh(content).textures == (image,)
