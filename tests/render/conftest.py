import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pytest

from assets.catalog import Catalog
from assets.prepared import Material
from assets.procedural import procedural_catalog
from assets.store import AssetStore
from assets.surroundings import hdri_catalog
from blender_scenes.sample import SceneConfig
from blender_scenes.spec import MirrorSpec, RenderSettings
from render.farm.jobs import DatasetConfig
from vosforge.seeding import rng_for
from vosforge.videos import SceneRecord, VideoRecord
from vosforge.videos.codec import Encoding, encode

MIRROR = MirrorSpec(middle=(0.0, -1.0, 0.0), turn=0.4, width=1.5, height=1.5, frame=0.1)
"""Before objects and beside them."""


def make_record(
    index: int = 0,
    frames: int = 4,
    height: int = 24,
    width: int = 40,
    objects: int = 2,
    encoding: Encoding = "jpeg",
    passes: bool = False,
) -> VideoRecord:
    """A video record of noise; with ``passes`` all optional ones."""
    rng = rng_for("record", index)
    pictures = rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    mask = rng.integers(0, objects + 1, (frames, height, width), dtype=np.uint8)
    return VideoRecord(
        id=f"{index:06d}",
        split="val" if index % 3 == 2 else "train",
        rgb=tuple(encode(picture, encoding, 95) for picture in pictures),
        encoding=encoding,
        mask=mask,
        passes=noisy_passes(mask, objects) if passes else {},
        category=("thing",) * objects,
        darkest=round(min(float(picture.mean()) for picture in pictures), 3),
        scene=SceneRecord(
            spec="{}",
            intrinsics=rng.normal(size=(frames, 3, 3)),
            world_to_camera=rng.normal(size=(frames, 4, 4)),
            pose=rng.normal(size=(frames, objects, 4, 4)),
            asset=tuple(f"{k:032x}" for k in range(objects)),
        ),
        attributes={"seed": 0, "attempt": 1},
    )


def without_colors(record: VideoRecord) -> VideoRecord:
    """The same video with masks, and passes, alone."""
    return replace(record, rgb=(), darkest=None)


def noisy_passes(mask: np.ndarray, objects: int) -> dict[str, np.ndarray]:
    """Every data set of every optional pass of a video with these masks ``[T, H, W]``."""
    rng = rng_for("passes", objects)
    T, H, W = mask.shape
    flow = rng.normal(size=(2, T, H, W, 2)).astype(np.float16)
    flow[0, -1], flow[1, 0] = np.nan, np.nan
    seen = mask[:, None] == np.arange(1, objects + 1)[:, None, None]
    amodal = seen | (rng.random(seen.shape) < 0.1)
    normal = rng.normal(size=(T, H, W, 3))
    return {
        "depth": rng.uniform(1, 9, mask.shape).astype(np.float16),
        "flow_fwd": flow[0],
        "flow_bwd": flow[1],
        "normal": np.rint(127 * normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.int8),
        "amodal": np.packbits(amodal, axis=-1),
        "objects/visibility": (seen.sum(axis=(2, 3)) / amodal.sum(axis=(2, 3))).astype(np.float32),
        "tracks/points": rng.uniform(0, min(H, W), (T, 9, 2)).astype(np.float32),
        "tracks/occluded": rng.random((T, 9)) < 0.5,
        "tracks/object": rng.integers(1, objects + 1, 9).astype(np.uint8),
    }


def cut_out(store, catalog):
    """A material with soft-edged holes, and a mesh with UVs to wear it."""
    alpha = cv2.resize(rng_for("holes").integers(0, 256, (6, 6), dtype=np.uint8), (48, 48))
    _, data = cv2.imencode(".png", np.dstack([np.full((48, 48, 3), 90, np.uint8), alpha]))
    mesh = next(asset.hash for asset in catalog.of_kind("mesh") if store.mesh(asset.hash).corner_uv is not None)
    return Material(texture=store.put_image(data.tobytes(), ".png"), cutout=True), mesh


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> AssetStore:
    return AssetStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def catalog(store) -> Catalog:
    """A small real catalog: procedural models and images, Blender's HDRIs."""
    return procedural_catalog(store, 12, 8, seed=1) + hdri_catalog(store)


@pytest.fixture
def small_config() -> DatasetConfig:
    """Seven small videos in three shards, one of them short."""
    return DatasetConfig(
        seed=1,
        videos=7,
        held_out_every=3,
        videos_per_shard=3,
        held_out_assets=0.4,
        scene=SceneConfig(objects=(2, 3)),
        render=RenderSettings(width=96, height=64, frames=3, samples=2),
    )


@pytest.fixture
def small_disk(tmp_path):
    """The folder of a file system of one megabyte, which only root can make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
