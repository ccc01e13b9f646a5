"""Draws specs without Blender, and describes them in numbers."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from rich.table import Table

from assets.catalog import Catalog
from assets.store import AssetStore
from blender_scenes.describe import DESCRIBED_QUANTILES, scene_quantities
from blender_scenes.presets import check_preset, preset_of
from blender_scenes.spec import SceneSpec
from render.farm.jobs import DatasetConfig, scene_of, split_assets
from tools.inspect.drawn import Drawn
from vosforge.config import explain, read_config
from vosforge.errors import InputError


def draw_scenes(config: DatasetConfig, catalog: Catalog) -> Iterator[SceneSpec]:
    """The scenes of a data set's videos in order, as in rendering's first attempts."""
    splits = split_assets(config, catalog)
    return (scene_of(config, splits, index) for index in range(config.videos))


def read_scenes(path: Path) -> Iterator[SceneSpec]:
    """The specs in a JSON Lines file; InputError names the file and line of an invalid one."""
    try:
        with path.open() as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield SceneSpec.model_validate_json(line)
                except ValidationError as error:
                    raise InputError(f"{path}, line {number}: {explain(error, SceneSpec)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the scenes {path}: {error}") from None


def description(scenes: Iterable[SceneSpec]) -> list[Table]:
    """Tables of ``scenes``: their quantities (how many values, mean, quantiles), and what they ask of trackers."""
    drawn = Drawn()
    table = _table(None, "quantity", "n", "mean", *(f"q{round(100 * share):02d}" for share in DESCRIBED_QUANTILES))
    table.columns[0].no_wrap = True
    for name, values in scene_quantities(drawn.counting(scenes)).items():
        shown = (f"{value:.4g}" for value in (values.mean(), *np.quantile(values, DESCRIBED_QUANTILES)))
        table.add_row(name, str(len(values)), *shown)
    if not table.row_count:
        raise InputError("there are no scenes to describe")
    asked = _table("what they ask of trackers, by the centres of objects, whatever hides them", *drawn.columns)
    for row in drawn.rows():
        asked.add_row(*row)
    return [table, asked]


def _table(title: str | None, *columns: str) -> Table:
    table = Table(*columns, title=title, title_justify="left", title_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def catalog_for(path: Path | None, config: DatasetConfig) -> Catalog:
    """The catalog at ``path`` (a file or a data set), or a new one for ``config`` in the cache."""
    if path is not None:
        return Catalog.load(path / "catalog.jsonl" if path.is_dir() else path)
    from render.farm.prepare import build_catalog  # needs trimesh

    return build_catalog(config.assets, config.seed, AssetStore())


def preset_config(preset: str, videos: int, seed: int, overrides: Mapping[str, object] | None = None) -> DatasetConfig:
    """The settings of a data set of ``videos`` scenes of ``preset``, changed by ``overrides`` (see `read_config`)."""
    base = DatasetConfig(seed=seed, videos=videos, scene=preset_of(preset))
    config = read_config(DatasetConfig, None, overrides, base)
    check_preset(config.scene)
    return config
