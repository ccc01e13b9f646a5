"""Estimates what a data set costs, from a few sample videos, and says it in lines."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from assets.store import AssetStore
from blender_scenes.presets import check_preset
from render.farm.estimate import Estimate, Samples, Span, estimate, take_samples
from render.farm.jobs import DatasetConfig, begun_with, catalog_of
from render.farm.layout import Layout, Resources, layout_for, worker_memory
from render.farm.prepare import build_catalog
from render.farm.process import BLENDER, BlenderUnusableError, cards_of
from tools.commands.rendering import check_place, dataset_settings
from tools.commands.status import duration
from vosforge.errors import InputError
from vosforge.log import console
from vosforge.processes import cores, free_memory


def estimate_lines(
    out: Path | None,
    config: Path | None,
    overrides: Mapping[str, object],
    resources: Resources,
    count: int,
    usd_per_core_hour: float | None = None,
    start: str = BLENDER,
) -> Iterator[str]:
    """Render ``count`` sample videos, and say what the data set costs; nothing is written to ``out``.

    ``out``: a data set that was started, whose settings and assets are then the defaults. ``start``: the module of the
    worker's process. Raises InputError for settings that `render` would refuse.
    """
    if out is not None:
        check_place(out)
    begun = begun_with(out) if out is not None else None
    wanted = dataset_settings(out, config, overrides)
    try:
        layout = _layout(wanted, resources)
    except BlenderUnusableError as error:
        raise InputError(str(error)) from None
    store = AssetStore()
    began = time.monotonic()
    if out is not None and begun is not None and (begun.assets, begun.seed) == (wanted.assets, wanted.seed):
        catalog = catalog_of(out)
    else:
        check_preset(wanted.scene)
        catalog = build_catalog(wanted.assets, wanted.seed, store)
    prepared = time.monotonic() - began
    console.print(f"rendering {min(count, wanted.videos)} sample videos of {wanted.render.frames} frames")
    samples = take_samples(wanted, catalog, store, count, threads=layout.threads, device=resources.device, start=start)
    cost = estimate(
        samples,
        videos=wanted.videos,
        frames=wanted.render.frames,
        workers=layout.workers,
        threads=layout.threads,
    )
    yield from _lines(wanted, layout, samples, cost, prepared)
    if usd_per_core_hour is not None:
        price = cost.usd(usd_per_core_hour)
        yield f"cost        {_money(price.expected)} ({_money(price.low)} to {_money(price.high)})"


def _layout(config: DatasetConfig, resources: Resources) -> Layout:
    """The workers of this machine, or as many as are wanted of a cluster."""
    cards = cards_of(resources.device) if resources.device != "cpu" else 0
    memory, each = free_memory(), worker_memory(config.render)
    here = layout_for(resources, config.videos, cores=cores(), memory=memory, worker=each, cards=cards)
    return Layout(min(resources.workers or here.workers, config.videos), here.threads)


def _lines(config: DatasetConfig, layout: Layout, samples: Samples, cost: Estimate, prepared: float) -> Iterator[str]:
    took = ", ".join(f"{video.seconds:.1f} s and {_size(video.size)}" for video in samples.videos)
    yield f"samples     {took}"
    yield f"set-up      assets {prepared:.1f} s, then Blender {samples.start_seconds:.1f} s in each worker"
    yield f"a worker    {_span(cost.frames_per_second, '.3g')} frames/s with {_number(layout.threads, 'thread')}"
    yield f"core-hours  {_span(cost.core_hours, ',.1f')} for {_number(config.videos, 'video')}"
    yield f"disk        {_size(cost.size.expected)} ({_size(cost.size.low)} to {_size(cost.size.high)})"
    low, high = duration(cost.seconds.low), duration(cost.seconds.high)
    yield f"time        {duration(cost.seconds.expected)} ({low} to {high}) with {_number(layout.workers, 'worker')}"


def _span(span: Span, form: str) -> str:
    return f"{span.expected:{form}} ({span.low:{form}} to {span.high:{form}})"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" + "s" * (count != 1)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.2f} TB"


def _money(usd: float) -> str:
    return f"${usd:,.2f}"
