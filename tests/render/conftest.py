import numpy as np
import pytest

from assets.catalog import Catalog
from assets.procedural import procedural_catalog
from assets.store import AssetStore
from assets.surroundings import hdri_catalog
from blender_scenes.sample import SceneConfig
from blender_scenes.spec import RenderSettings
from render.jobs import DatasetConfig
from render.shards import SceneRecord, VideoRecord
from render.shards.codec import Encoding, encode
from vosforge.seeding import rng_for


def make_record(
    index: int = 0,
    frames: int = 4,
    height: int = 24,
    width: int = 40,
    objects: int = 2,
    encoding: Encoding = "jpeg",
) -> VideoRecord:
    """A video record of noise."""
    rng = rng_for("record", index)
    pictures = rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    return VideoRecord(
        id=f"{index:06d}",
        split="val" if index % 3 == 2 else "train",
        rgb=tuple(encode(picture, encoding, 95) for picture in pictures),
        encoding=encoding,
        mask=rng.integers(0, objects + 1, (frames, height, width), dtype=np.uint8),
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
