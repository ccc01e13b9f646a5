"""Renders a data set from the command line: settings and assets are pinned in its folder on the first run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from assets.catalog import Catalog
from assets.store import AssetStore
from blender_scenes.presets import check_preset
from render.farm.jobs import PREPARING, Dataset, DatasetConfig, begun_with
from render.farm.layout import WHOLE_MACHINE, Resources
from render.farm.parts import WHOLE, Part
from render.farm.prepare import build_catalog
from render.farm.process import BlenderUnusableError, cards_of
from tools.convert.importing import PIN
from vosforge.config import read_config
from vosforge.errors import InputError
from vosforge.locks import in_turn
from vosforge.log import console
from vosforge.progress import progress, shown
from vosforge.ray_head import check_head
from vosforge.trouble import attempting
from vosforge.videos import ShardSet, VideoRow
from vosforge.videos.format import shard_name

if TYPE_CHECKING:
    from render.farm.cluster import Progress


class Rendered(NamedTuple):
    """A data set, or a part of it, after a run."""

    videos: int
    """How many are sealed."""
    quarantined: tuple[VideoRow, ...]
    missing: int
    """How many are neither sealed nor quarantined."""


def render_with_progress(
    dataset: Dataset,
    store: AssetStore,
    resources: Resources = WHOLE_MACHINE,
    retry_quarantined: bool | str = False,
    without_ray: bool = False,
) -> "Progress":
    """Render the missing videos of ``dataset`` with a progress display."""
    if without_ray:
        from render.farm.threads import render_here as render
    else:
        from render.farm.cluster import render_dataset as render  # Ray takes seconds to import

    with progress("rendering", note="starting") as bar:

        def show(run: "Progress") -> None:
            rate = run.frames_done / run.seconds if run.frames_done else 0.0
            bar.show(run.frames_done, run.frames_total, f"{rate:.2f} frames/s" if rate else "starting")

        done = render(dataset, store, resources, show, retry_quarantined)
    if done.redrawn or done.quarantined:
        why = ", ".join(f"{kind} {count}" for kind, count in sorted(done.refusals.items()))
        told = f"redrawn after a failed check: {done.redrawn}{f' ({why})' if why else ''}"
        console.print(f"{told}; quarantined: {done.quarantined}")
    return done


def render_to(
    out: Path,
    config: Path | None,
    overrides: Mapping[str, object],
    resources: Resources = WHOLE_MACHINE,
    retry_quarantined: bool | str = False,
    part: Part | None = None,
) -> Rendered:
    """Render the missing videos of the data set at ``out``, or of one ``part`` of it, without Ray.

    An existing data set keeps its pinned settings and assets: they are the defaults, and others raise InputError.
    ``overrides``: those of `read_config`. ``retry_quarantined``: render quarantined videos too, or those of one kind.
    Raises InputError, before anything is written, if ``out`` is unsuitable, the device is missing, or no Ray cluster
    answers.
    """
    wanted = _settings(out, config, overrides)
    check_place(out)
    if resources.address is not None:
        check_head(resources.address)
    elif resources.device != "cpu":
        try:
            cards_of(resources.device)
        except BlenderUnusableError as error:
            raise InputError(str(error)) from None
    store = AssetStore()
    dataset = open_part(out, config, overrides, store, part) if part else open_dataset(out, wanted, store)
    render_with_progress(dataset, store, resources, retry_quarantined, part is not None)
    shards, names = ShardSet(out), set(map(shard_name, dataset.shards()))
    quarantined = tuple(row for row in shards.quarantined if row.shard in names)
    return Rendered(sum(row.shard in names for row in shards.videos), quarantined, len(dataset.missing()))


def open_part(
    out: Path, config: Path | None, overrides: Mapping[str, object], store: AssetStore, part: Part = WHOLE
) -> Dataset:
    """`open_dataset` for a data set that several processes may start at once: one prepares it, the others wait."""
    wanted = _settings(out, config, overrides)
    check_place(out)
    if begun_with(out):
        return open_dataset(out, wanted, store, part)
    with attempting(f"write to {out}"):
        out.mkdir(parents=True, exist_ok=True)
    with in_turn(out, "preparing", PREPARING):
        return open_dataset(out, _settings(out, config, overrides), store, part)


def _settings(out: Path, config: Path | None, overrides: Mapping[str, object]) -> DatasetConfig:
    return read_config(DatasetConfig, config, overrides, None if config else begun_with(out))


def open_dataset(root: Path, config: DatasetConfig, store: AssetStore, part: Part = WHOLE) -> Dataset:
    """Open the data set at ``root``, or start it with a new catalog for ``config``.

    Raises InputError if it was started with other settings, ``root`` is unsuitable, or the preset is unknown.
    """
    check_place(root)
    if begun_with(root):
        console.print(f"{shown(root)} exists, reusing its catalog")
        return Dataset(root, config, Catalog.load(root / "catalog.jsonl"), part)
    check_preset(config.scene)  # of new scenes: those of stored data sets may bear any name
    return Dataset(root, config, build_catalog(config.assets, config.seed, store), part)


def check_place(root: Path) -> None:
    """Raise InputError unless ``root`` is a rendered data set, an empty folder, or missing."""
    if (root / PIN).exists():
        raise InputError(f"{root} holds imported videos: render into another folder")
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file: name a folder for the data set")
    if not root.exists() or all((root / name).exists() for name in ("dataset.yaml", "catalog.jsonl")):
        return
    # A killed run may leave the catalog, which is pinned first, and hidden files.
    found = sorted(path.name for path in root.iterdir())
    if foreign := [name for name in found if not name.startswith(".") and name != "catalog.jsonl"]:
        raise InputError(f"{root} holds other files ({foreign[0]}) and no data set: name a new or an empty folder")
