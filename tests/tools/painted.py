"""Data sets whose videos are painted with numpy instead of rendered with Blender, for the tests of what reads them."""

from pathlib import Path

import numpy as np

from assets.catalog import Asset, Catalog
from blender_scenes.geometry import SceneGeometry
from blender_scenes.sample import SceneConfig
from blender_scenes.spec import RenderSettings, SceneSpec
from render.blender.records import video_record
from render.farm.jobs import Dataset, DatasetConfig
from vosforge.seeding import rng_for
from vosforge.videos import VideoRecord, stage_video
from vosforge.videos.codec import encode

CONFIG = DatasetConfig(
    videos=7,
    videos_per_shard=3,
    held_out_every=3,
    held_out_assets=0.4,
    scene=SceneConfig(objects=(2, 3)),
    render=RenderSettings(width=48, height=32, frames=3),
)


def painted_catalog() -> Catalog:
    """Names of assets with no content behind them: enough to draw scenes."""
    kinds = [("mesh", 10, "CC0-1.0", "Ada"), ("texture", 8, "CC-BY-4.0", "Bob"), ("hdri", 4, "CC0-1.0", "Eve")]
    return Catalog(
        assets=tuple(
            Asset(
                hash=f"{ord(kind[0]):x}{number:030x}",
                kind=kind,
                name=f"{kind} {number}",
                category=f"{kind} of kind {number % 3}",
                source=f"painted/{kind}/{number}",
                licence=licence,
                creator=creator,
            )
            for kind, count, licence, creator in kinds
            for number in range(count)
        )
    )


def painted_record(spec: SceneSpec, catalog: Catalog) -> VideoRecord:
    """A video of ``spec``'s shape: objects are squares that move to the right, the last one leaves for a frame."""
    settings, K = spec.render, len(spec.objects)
    rng = rng_for("painted", spec.index)
    frames = rng.integers(60, 180, (settings.frames, settings.height, settings.width, 3), dtype=np.uint8)
    masks = np.zeros(frames.shape[:3], np.uint8)
    for t in range(settings.frames):
        for k in range(K - (t == 1)):
            masks[t, 2 + 9 * k : 9 + 9 * k, 3 * t + k : 8 + 3 * t + k] = k + 1
    rgb = tuple(encode(frame, settings.encoding, settings.jpeg_quality) for frame in frames)
    return video_record(
        SceneGeometry(spec, {}), catalog, rgb, masks, min(float(frame.mean()) for frame in frames), "numpy"
    )


def painted_dataset(root: Path, quarantined: int | None = 4) -> Dataset:
    """A finished data set of seven painted videos in three shards, one of them quarantined."""
    catalog = painted_catalog()
    dataset = Dataset(root, CONFIG, catalog)
    with dataset.writing():
        paint_missing(dataset, quarantined)
    return dataset


def paint_missing(dataset: Dataset, quarantined: int | None = None) -> None:
    """What rendering does with the missing videos of ``dataset``."""
    for index in dataset.missing():
        if index == quarantined:
            dataset.quarantine(index, "Blender died")
        else:
            stage_video(dataset.staged_path(index), painted_record(dataset.spec(index), dataset.catalog))
    dataset.pack()
    dataset.manifest()
