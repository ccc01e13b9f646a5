"""``python -m tests.render.farm.null_runs ROOT PART``: renders a part of a data set by children that render nothing."""

import sys
import tempfile
from pathlib import Path

from assets.catalog import Catalog
from assets.store import AssetStore
from benchmarks.null_child import FRAMES, SIDE
from blender_scenes.spec import RenderSettings
from render.farm.jobs import Dataset, DatasetConfig
from render.farm.layout import Resources
from render.farm.parts import WHOLE, Part
from render.farm.run import Progress
from render.farm.threads import render_here
from vosforge.processes import end_on_sigterm

CHILD = "benchmarks.null_child"
CONFIG = DatasetConfig(
    videos=58, videos_per_shard=5, held_out_every=0, render=RenderSettings(width=SIDE, height=SIDE, frames=FRAMES)
)
"""Twelve shards, the last one short."""


def null_dataset(root: Path, part: Part = WHOLE, videos: int = CONFIG.videos) -> Dataset:
    """The data set at ``root`` that null children fill."""
    return Dataset(root, CONFIG.model_copy(update={"videos": videos}), Catalog(), part)


def render_null(dataset: Dataset, workers: int = 1) -> Progress:
    """Fill it."""
    with tempfile.TemporaryDirectory() as store:
        return render_here(dataset, AssetStore(Path(store)), Resources(workers), start=CHILD)


if __name__ == "__main__":
    end_on_sigterm()
    render_null(null_dataset(Path(sys.argv[1]), Part.parse(sys.argv[2])))
