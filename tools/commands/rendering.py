"""Renders a data set from the command line: settings and assets are pinned in its folder on the first run."""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from assets.store import ASSETS, AssetStore
from blender_scenes.presets import DEFAULT_PRESET, check_preset
from blender_scenes.sample import PRESETS
from render.farm.jobs import RUN_PATIENCE, Dataset, DatasetConfig, begun_with, catalog_of
from render.farm.layout import WHOLE_MACHINE, Resources
from render.farm.ledger import PREPARING
from render.farm.parts import WHOLE, Part
from render.farm.places import is_begun, places_at
from render.farm.prepare import build_catalog
from render.farm.preparing import Prepare, prepare_here
from render.farm.process import BlenderUnusableError, cards_of
from render.farm.runlog import Note, untold
from render.farm.webhook import Webhook
from tools.convert.importing import PIN
from vosforge.config import read_config, read_yaml
from vosforge.errors import InputError
from vosforge.locks import in_turn
from vosforge.log import console
from vosforge.progress import progress, shown
from vosforge.ray_head import check_head
from vosforge.ray_local import check_metrics
from vosforge.trouble import attempting, patiently
from vosforge.videos import Place, ShardSet, VideoRow
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
    on_note: Note = untold,
) -> "Progress":
    """Render the missing videos of ``dataset`` with a progress display. ``on_note``: as in `render_missing`."""
    if without_ray:
        from render.farm.threads import render_here as render
    else:
        from render.farm.cluster import render_dataset as render  # Ray takes seconds to import

    with progress("rendering", note="starting") as bar:

        def show(run: "Progress") -> None:
            rate = run.frames_done / run.seconds if run.frames_done else 0.0
            bar.show(run.frames_done, run.frames_total, f"{rate:.2f} frames/s" if rate else "starting")

        done = render(dataset, store, resources, show, retry_quarantined, on_note=on_note)
    if done.redrawn or done.quarantined:
        why = ", ".join(f"{kind} {count}" for kind, count in sorted(done.refusals.items()))
        told = f"redrawn after a failed check: {done.redrawn}{f' ({why})' if why else ''}"
        console.print(f"{told}; quarantined: {done.quarantined}")
    return done


def render_to(
    out: Place,
    config: Path | None,
    overrides: Mapping[str, object],
    resources: Resources = WHOLE_MACHINE,
    retry_quarantined: bool | str = False,
    part: Part | None = None,
    webhook: str | None = None,
) -> Rendered:
    """Render the missing videos of the data set at ``out``, a folder or URL, or of one ``part`` of it, without Ray.

    An existing data set keeps its pinned settings and assets: they are the defaults, and others raise InputError.
    ``overrides``: those of `read_config`. ``retry_quarantined``: render quarantined videos too, or those of one kind.
    ``webhook``: a URL that is told of the first quarantine and the end of the run.
    Raises InputError, before anything is written, if ``out`` is unsuitable, the device is missing, or no Ray cluster
    answers.
    """
    wanted = dataset_settings(out, config, overrides)
    check_place(out)
    hook = Webhook(webhook, str(out), f"{part.number}/{part.of}" if part else None) if webhook is not None else None
    if resources.metrics_port is not None:
        check_metrics(resources.metrics_port)
    if resources.address is not None:
        check_head(resources.address)
    elif resources.device != "cpu":
        try:
            cards_of(resources.device)
        except BlenderUnusableError as error:
            raise InputError(str(error)) from None
    store = AssetStore()
    with hook or nullcontext():
        if part is not None:
            dataset = open_part(out, config, overrides, store, part)
        else:
            dataset = open_dataset(out, wanted, store, address=resources.address)
        on_note = hook.note if hook else untold
        render_with_progress(dataset, store, resources, retry_quarantined, part is not None, on_note)
    shards, names = patiently(lambda: ShardSet(out), RUN_PATIENCE), set(map(shard_name, dataset.shards()))
    quarantined = tuple(row for row in shards.quarantined if row.shard in names)
    return Rendered(sum(row.shard in names for row in shards.videos), quarantined, len(dataset.missing()))


def open_part(
    out: Place,
    config: Path | None,
    overrides: Mapping[str, object],
    store: AssetStore,
    part: Part = WHOLE,
    address: str | None = None,
) -> Dataset:
    """`open_dataset` for a data set that several processes may start at once: one prepares it, the others wait."""
    wanted = dataset_settings(out, config, overrides)
    check_place(out)
    if begun_with(out):
        return open_dataset(out, wanted, store, part, address)
    if not isinstance(out, Path):  # a store has no locks
        if part != WHOLE:
            raise InputError(f"{out} is not prepared: first run the same command with --prepare-only for --part")
        return open_dataset(out, wanted, store, part, address)
    with attempting(f"write to {out}"):
        out.mkdir(parents=True, exist_ok=True)
    with in_turn(out, "preparing", PREPARING):
        return open_dataset(out, dataset_settings(out, config, overrides), store, part, address)


def dataset_settings(out: Place | None, config: Path | None, overrides: Mapping[str, object]) -> DatasetConfig:
    """The settings of a data set: those it was started with, or a file's, or the defaults, changed by ``overrides``.

    A file that has a ``scene`` says what differs from the preset ``basic``, as those of data sets do.
    """
    base = begun_with(out) if out is not None and config is None else None
    if base is None and (config is None or "scene" not in read_yaml(config)):
        base = DatasetConfig(scene=PRESETS[DEFAULT_PRESET])
    return read_config(DatasetConfig, config, overrides, base)


def open_dataset(
    root: Place, config: DatasetConfig, store: AssetStore, part: Part = WHOLE, address: str | None = None
) -> Dataset:
    """Open the data set at ``root``, or start it with a new catalog for ``config``. A store gets the assets, too.

    ``address``: of a Ray cluster whose nodes prepare the models; None prepares them here. Raises InputError if it was
    started with other settings, ``root`` is unsuitable, or the preset is unknown.
    """
    check_place(root)
    if begun_with(root):
        console.print(f"{shown(root)} exists, reusing its catalog")
        catalog = catalog_of(root)
    else:
        check_preset(config.scene)  # of new scenes: those of stored data sets may bear any name
        catalog = build_catalog(config.assets, config.seed, store, _preparing(address))
    if not isinstance(root, Path) and part == WHOLE:
        store.publish(catalog, root / ASSETS)
    return Dataset(root, config, catalog, part)


def _preparing(address: str | None) -> Prepare:
    if address is None:
        return prepare_here
    from render.farm.cluster import prepare_on_nodes  # Ray takes seconds to import

    return partial(prepare_on_nodes, address=address)


def check_place(root: Place) -> None:
    """Raise InputError unless ``root`` is a rendered data set, an empty folder, or missing."""
    if not isinstance(root, Path):
        if (root / PIN).exists():
            raise InputError(f"{root} holds imported videos: render to another URL")
        if not is_begun(root):
            places_at(root).check_writable()
        return
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
