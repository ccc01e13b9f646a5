"""The job loop of a Blender process (started by `render.blender.start`): it serves until its owner exits.

Errors the user can fix and machine failures are answered with one sentence. Any other ends the process,
whose log then has the traceback.
"""

import io
import math
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from assets.catalog import Catalog
from assets.store import AssetStore, MissingAssetError
from blender_scenes.blender.bake import baked, unbaked
from blender_scenes.blender.mesh_import import prepare_model
from blender_scenes.geometry import SceneGeometry
from blender_scenes.spec import SceneSpec
from render.blender.engine import Engine
from render.blender.records import video_record
from render.farm.devices import check_renderer
from render.farm.events import Done, Event, Failed, Frames, Ready, Refused, Working
from render.farm.jobs import Pinned
from render.farm.places import STORE_PATIENCE, Places
from render.farm.process import MISSING_ASSET, Job
from render.labels.passes import PassMaker
from render.labels.tracks import make_tracks
from vosforge.amounts import contrast as contrast_of
from vosforge.amounts import contrast_times
from vosforge.errors import MachineError, VOSForgeError
from vosforge.processes import end_with_owner
from vosforge.trouble import NOT_ENOUGH, attempting, patiently
from vosforge.videos.codec import encode
from vosforge.videos.format import visible_area
from vosforge.videos.gates import DEFAULT_LIMITS, color_refusal, label_refusal
from vosforge.videos.writer import stage_video

BEAT_SECONDS = 5.0
"""How often a step says that it goes on."""


@cache
def _catalog(path: str) -> Catalog:
    return Catalog.load(Path(path))


@cache
def _pinned(root: str) -> Pinned:
    return Pinned.load(Path(root))


def video_job(engine: Engine, job: Job) -> Iterator[Event]:
    """Draw and render video ``job["index"]`` of the data set ``job["dataset"]``, as `render_job` does.

    ``job["attempt"]``: how often it was refused before.
    """
    pinned, places = _pinned(job["dataset"]), Places(Path(job["dataset"]))
    with places.writing():  # nothing is drawn below the empty mount point of a lost share
        pass
    yield from render_job(
        engine,
        {
            "spec": pinned.spec(job["index"], job["attempt"]).model_dump_json(),
            "store": job["store"],
            "catalog": str(places.catalog),
            "staged": str(places.staged(job["index"])),
            "gates": pinned.config.scene.gates,
            "limits": pinned.config.scene.gate_limits,
            "renderer": job["renderer"],
            "source": job["source"],
        },
    )


def render_job(engine: Engine, job: Job) -> Iterator[Event]:
    """Render ``job["spec"]`` and stage it at ``job["staged"]``; yields an event a frame, then the outcome.

    With ``job["gates"]`` a video that fails its checks is refused; ``job["limits"]`` has what they refuse (default: as
    ``basic``). Nothing is rendered if ``job["renderer"]``, the renderer of the data set, differs from this one.
    """
    _check_there(job)
    try:
        check_renderer(job["renderer"], engine.cycles.version)
    except VOSForgeError as error:
        yield Failed("unusable", str(error))
        return
    with _named_assets(Path(job["catalog"])):
        yield from _rendered(engine, job)


def _rendered(engine: Engine, job: Job) -> Iterator[Event]:
    spec = SceneSpec.model_validate_json(job["spec"])
    store = AssetStore(Path(job["store"]))
    if (source := job.get("source")) is not None:
        wanted = [asset for asset in _catalog(job["catalog"]).assets if asset.hash in spec.assets]
        yield from _beating("fetching assets", lambda: store.fetch(wanted, source))
    if unbaked(spec, store):
        yield Working("baking")
        spec = baked(spec, store)
    yield Working("reading assets")
    geometry, settings = SceneGeometry.load(spec, store), spec.render
    yield Working("setting up")
    rgb: list[bytes] = []
    brightness: list[float] = []
    contrast: list[float] = []
    masks = np.empty((settings.frames, settings.height, settings.width), np.uint8)
    maker = PassMaker(geometry, store) if settings.passes else None
    passes: dict[str, np.ndarray] = {}
    contrasts: list[np.ndarray] = []
    shown: list[int] = []
    measured = contrast_times(settings.frames)
    for t, frame in enumerate(engine.render(geometry, store)):
        masks[t] = frame.mask
        if t == 0:
            shown = np.flatnonzero(np.bincount(frame.seen.ravel())).tolist()
        if frame.rgb is not None:
            if t in measured:
                contrasts.append(contrast_of(frame.rgb, frame.mask, len(spec.objects)))
            jpeg = settings.jpeg_quality, settings.jpeg_subsampling, settings.jpeg_tables
            rgb.append(encode(frame.rgb, settings.encoding, *jpeg))
            brightness.append(float(frame.rgb.mean()))
            contrast.append(float(frame.rgb.mean(axis=2).std()))
        if maker is not None and frame.depth is not None:
            for name, array in maker.frame(t, frame.seen, frame.depth).items():
                if name not in passes:
                    passes[name] = _on_disk((settings.frames, *array.shape), array.dtype)
                passes[name][t] = array
        yield Frames()
    yield Working("finishing")
    areas = visible_area(masks, len(spec.objects))
    if job["gates"]:
        limits = job.get("limits", DEFAULT_LIMITS).without(spec.excuses)
        refusal = color_refusal(brightness, contrast, limits) or label_refusal(areas, masks[0].size, limits)
        if refusal is not None:
            modules = {trait.module for trait in spec.all_traits if refusal.kind in trait.excuses}
            yield Refused(refusal.reason, refusal.kind, tuple(sorted(modules)))
            return
    if maker is not None and "tracks" in settings.passes:
        passes |= make_tracks(maker.surfaces, masks)
    darkest = min(brightness, default=None)
    made = geometry, _catalog(job["catalog"]), tuple(rgb), masks, darkest, engine.cycles.version, passes
    record = video_record(*made, contrasts, shown)
    staged = Path(job["staged"])
    with attempting(f"write to {staged.parent}"):
        _check_there(job)
        row = stage_video(staged, record)
    yield Done(row.model_dump(mode="json"), engine.cycles.version)


def _beating(on: str, fetch: Callable[[], object]) -> Iterator[Event]:
    """Call ``fetch``, again while a store fails, and say meanwhile that it goes on."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(patiently, fetch, STORE_PATIENCE)
        while not wait([result], BEAT_SECONDS).done:
            yield Working(on)
    result.result()


@contextmanager
def _named_assets(catalog: Path) -> Iterator[None]:
    """If the store lacks an asset, name it and its source in the error."""
    try:
        yield
    except MissingAssetError as error:
        held = [asset for asset in _catalog(str(catalog)).assets if error.content in (asset.hash, *asset.textures)]
        which = f" (it is {held[0].name}, {held[0].source})" if held else ""
        raise MachineError(f"{error}{which}", MISSING_ASSET) from None


def _check_there(job: Job) -> None:
    """Raise MachineError for a lost share: nothing may be written below its empty mount point."""
    catalog = Path(job["catalog"])
    if not catalog.is_file():
        raise MachineError(f"{catalog.parent} has disappeared: check its disk or share, then run the command again")


def _on_disk(shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """An array in an unnamed file: a video's passes may exceed memory."""
    with attempting(f"write to {tempfile.gettempdir()}"), tempfile.TemporaryFile() as file:
        # Room that is not there would end the process later, when the array is filled.
        os.posix_fallocate(file.fileno(), 0, max(1, math.prod(shape) * np.dtype(kind).itemsize))
        return np.memmap(file, kind, "w+", shape=shape)


def prepare_job(engine: Engine, job: Job) -> Iterator[Event]:
    """Prepare the model ``job["model"]`` in the store; yields its catalog entry and warnings."""
    asset, warnings = prepare_model(job["model"], AssetStore(Path(job["store"])))
    yield Done(asset, warnings=tuple(warnings))


def bake_job(engine: Engine, job: Job) -> Iterator[Event]:
    """Bake ``job["spec"]``: make its meshes and simulate its physics, into the store; yields the complete spec."""
    spec, store = SceneSpec.model_validate_json(job["spec"]), AssetStore(Path(job["store"]))
    yield Working("baking")
    yield Done(baked(spec, store).model_dump_json())


def prove_job(engine: Engine, job: Job) -> Iterator[Event]:
    """Check that the engine can render; yields its number of cards."""
    try:
        engine.cycles.prove()
    except VOSForgeError as error:
        yield Failed("unusable", str(error))
    else:
        yield Done(engine.cycles.device.cards)


JOBS: dict[str, Callable[[Engine, Job], Iterator[Event]]] = {
    "bake": bake_job,
    "prepare": prepare_job,
    "prove": prove_job,
    "render": render_job,
    "video": video_job,
}


def serve(connection: Connection, engine: Engine) -> None:
    """Answer jobs until the other end closes."""
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            with attempting(f"{job['do']} here"):
                for event in JOBS[job["do"]](engine, job):
                    connection.send(event)
        except MachineError as error:
            if error.why == NOT_ENOUGH:  # of this job; the end of the process gives back what it took
                raise
            traceback.print_exc()
            connection.send(Failed("missing asset" if error.why == MISSING_ASSET else "storage", str(error)))
        except VOSForgeError as error:
            connection.send(Failed("content", str(error)))


class _Log(io.TextIOBase):
    """Writes to standard error, as long as there is room for the log: a full disk does not end the process."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            os.write(2, text.encode(errors="replace"))
        return len(text)


def run_worker(connection: int, threads: int, device: str, ready: Callable[[], None]) -> None:
    """Set the process up and serve; ``connection``: a file descriptor; ``ready`` is called once Blender stands."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the owner decides
    sys.stdout = sys.stderr = _Log()
    end_with_owner()
    owner = Connection(connection)
    try:
        engine = Engine(threads, device)
    except VOSForgeError as error:
        owner.send(Failed("unusable", str(error)))
    else:
        ready()
        owner.send(Ready())
        serve(owner, engine)
