"""How a machine is dealt out to Blender processes: how many there are, and with how many threads each renders."""

from dataclasses import dataclass

from blender_scenes.spec import RenderSettings
from render.farm.devices import DEVICES
from vosforge.errors import InputError

WORKER_MEMORY = 900 * 2**20
"""Bytes of a worker, its Blender process and the Ray actor that owns it, without frames.

740 MiB with small models, 770 with SweetHome3D's."""
PIXEL_MEMORY = 640
"""Bytes a pixel of the frame that is rendered, denoised and encoded."""
KEPT_MEMORY = 2
"""Bytes a pixel of each frame until its video is sealed: its mask and its encoded colours."""


@dataclass(frozen=True)
class Resources:
    """What a run may use. It belongs to the machine, not to the data set, and bears on no label."""

    workers: int | None = None
    """Blender processes; None: as many as cores, memory and GPUs allow."""
    threads: int | None = None
    """Threads each renders with; None: the cores, dealt out."""
    device: str = "cpu"
    """What Cycles renders on: one of `render.farm.devices.DEVICES`."""
    workers_per_gpu: int = 2
    """How many processes share a GPU: while one of them encodes, another one's frame is rendered."""
    address: str | None = None
    """Of a running Ray cluster, whose nodes must see the same folders; None starts a local one."""
    any_renderer: bool = False
    """Whether a data set may be gone on with by another Blender, or on another device, than it was begun with."""

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise InputError(f"unknown device '{self.device}'; known: {', '.join(DEVICES)}")


WHOLE_MACHINE = Resources()
"""As much of this machine's processor as there is."""


@dataclass(frozen=True)
class Layout:
    """``workers`` Blender processes that render with ``threads`` threads each."""

    workers: int
    threads: int


def worker_memory(settings: RenderSettings) -> int:
    """Bytes that a worker comes to take, as `benchmarks.scaling` measures them.

    Optional passes do not count: they lie in files, whose pages Linux gives back when it must.
    """
    pixels = settings.width * settings.height
    return WORKER_MEMORY + pixels * (PIXEL_MEMORY + settings.frames * KEPT_MEMORY)


def layout_for(wanted: Resources, videos: int, *, cores: int, memory: int, worker: int, cards: int = 0) -> Layout:
    """The layout for ``videos`` videos on a machine with so many cores, free bytes and GPUs of the wanted kind.

    ``worker``: bytes that each worker takes.

    One thread a process, as long as memory and videos last: two processes with a thread each beat one with two.
    """
    workers = wanted.workers or max(1, min(cores // (wanted.threads or 1), memory // worker))
    if wanted.device != "cpu":
        workers = min(workers, cards * wanted.workers_per_gpu)
    workers = min(workers, videos)
    return Layout(workers, wanted.threads or max(1, cores // workers))
