"""Divides a machine among Blender processes: their number and threads."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from blender_scenes.spec import RenderSettings
from render.farm.devices import DEVICES
from vosforge.errors import InputError, VOSForgeError

WORKER_MEMORY = 900 * 2**20
"""Bytes of a worker (Blender process and Ray actor) without frames.

740 MiB with small models, 770 with SweetHome3D's."""
PIXEL_MEMORY = 640
"""Bytes a pixel of the frame that is rendered, denoised and encoded."""
KEPT_MEMORY = 2
"""Bytes a pixel of each frame until its video is sealed: its mask and its encoded colours."""


@dataclass(frozen=True)
class Resources:
    """Resources of a run. They belong to the machine, not to the data set, and never affect labels."""

    workers: int | None = None
    """Blender processes; None: as many as cores, memory and GPUs allow."""
    threads: int | None = None
    """Threads per process; None: cores / workers."""
    device: str = "cpu"
    """What Cycles renders on: one of `render.farm.devices.DEVICES`."""
    workers_per_gpu: int = 2
    """Processes per GPU: while one encodes, another renders."""
    address: str | None = None
    """Of a running Ray cluster, whose nodes must see the same folders; None starts a local one."""
    any_renderer: bool = False
    """Whether a data set may resume with another Blender version or device."""
    metrics_port: int | None = None
    """Where a local Ray serves metrics to this machine; None: wherever there is room."""

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise InputError(f"unknown device '{self.device}'; known: {', '.join(DEVICES)}")


WHOLE_MACHINE = Resources()
"""All of this machine's CPU."""


@dataclass(frozen=True)
class Layout:
    """``workers`` Blender processes that render with ``threads`` threads each."""

    workers: int
    threads: int


def worker_memory(settings: RenderSettings) -> int:
    """Peak bytes of a worker, as measured by `benchmarks.scaling`.

    Optional passes do not count: they are file-backed, and Linux reclaims their pages.
    """
    pixels = settings.width * settings.height
    return WORKER_MEMORY + pixels * (PIXEL_MEMORY + settings.frames * KEPT_MEMORY)


def layout_for(wanted: Resources, videos: int, *, cores: int, memory: int, worker: int, cards: int = 0) -> Layout:
    """The layout for ``videos`` videos on a machine with so many cores, free bytes and GPUs of the wanted kind.

    ``worker``: bytes that each worker takes.

    One thread per process while memory and videos last: two processes with one thread each beat one with two.
    """
    workers = wanted.workers or max(1, min(cores // (wanted.threads or 1), memory // worker))
    if wanted.device != "cpu":
        workers = min(workers, cards * wanted.workers_per_gpu)
    workers = min(workers, videos)
    return Layout(workers, wanted.threads or max(1, cores // workers))


def layout_on_nodes(wanted: Resources, nodes: Iterable[Mapping[str, Any]], videos: int, worker: int) -> Layout:
    """The workers that fit on all nodes of a cluster: an actor that fits nowhere would block its video forever.

    ``nodes``: as ``ray.nodes()`` lists them. ``worker``: bytes that each worker takes. Raises VOSForgeError if none
    fits.
    """
    threads = wanted.threads or 1
    each = replace(wanted, workers=None, threads=threads)
    fitting = 0
    for node in nodes:
        has = {kind: int(amount) for kind, amount in node["Resources"].items()}
        cores, memory = has.get("CPU", 0), has.get("memory", 0)
        if node["Alive"] and cores >= threads and memory >= worker:
            layout = layout_for(each, videos, cores=cores, memory=memory, worker=worker, cards=has.get("GPU", 0))
            fitting += layout.workers
    if not fitting:
        needed = f"{threads} core{'s' * (threads > 1)} and {worker / 2**30:.1f} GiB"
        needed += " and a GPU" if wanted.device != "cpu" else ""
        raise VOSForgeError(
            f"a worker needs {needed}, which no node of the Ray cluster at {wanted.address} has: add such a node, "
            "or render without --address"
        )
    return Layout(min(fitting, wanted.workers or fitting, videos), threads)
