"""The Blender process itself: ``python -m render.worker FD THREADS`` takes jobs from a pipe until its owner is gone.

An error the user can mend is answered as one sentence. Any other ends the process, whose log then has the traceback.
"""

import platform
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from assets.catalog import Catalog
from assets.store import AssetStore
from blender_scenes.blender.mesh_import import prepare_model
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import camera_poses, intrinsics, object_poses
from render.engine import Engine
from render.process import Event
from render.quality import refusal
from render.shards.codec import encode
from render.shards.format import SceneRecord, VideoRecord, visible_area
from render.shards.writer import stage_video
from vosforge import VOSForgeError, __version__
from vosforge.processes import end_with_owner


@cache
def _catalog(path: str) -> Catalog:
    return Catalog.load(Path(path))


def render_job(engine: Engine, job: Event) -> Iterator[Event]:
    """Render ``job["spec"]`` and stage it at ``job["staged"]``; yields an event a frame, then the outcome.

    With ``job["gates"]`` a video that does not show enough is refused instead.
    """
    spec = SceneSpec.model_validate_json(job["spec"])
    store = AssetStore(Path(job["store"]))
    settings = spec.render
    rgb: list[bytes] = []
    masks = np.empty((settings.frames, settings.height, settings.width), np.uint8)
    brightness, contrast = np.empty(settings.frames), np.empty(settings.frames)
    for t, frame in enumerate(engine.render(spec, store)):
        rgb.append(encode(frame.rgb, settings.encoding, settings.jpeg_quality))
        masks[t], brightness[t], contrast[t] = frame.mask, frame.rgb.mean(), frame.rgb.mean(axis=2).std()
        yield {"frame": t}
    reason = refusal(brightness, contrast, visible_area(masks, len(spec.objects)), masks[0].size)
    if job["gates"] and reason is not None:
        yield {"refused": reason}
        return
    catalog = _catalog(job["catalog"])
    record = VideoRecord(
        id=spec.video_id,
        split=spec.split,
        rgb=tuple(rgb),
        encoding=settings.encoding,
        mask=masks,
        category=tuple(item.category for item in spec.objects),
        darkest=round(float(brightness.min()), 3),
        scene=SceneRecord(
            spec=spec.model_dump_json(),
            intrinsics=np.tile(intrinsics(spec.camera, settings.width, settings.height), (settings.frames, 1, 1)),
            world_to_camera=camera_poses(spec.camera, settings.frames),
            pose=np.stack([object_poses(item, settings.frames) for item in spec.objects], axis=1),
            asset=tuple(item.mesh for item in spec.objects),
        ),
        attributes={
            "seed": spec.seed,
            "attempt": spec.attempt,
            "vosforge": __version__,
            "renderer": engine.version,
            "cpu": platform.processor() or platform.machine(),
            "credits": [catalog.by_hash(content).model_dump(mode="json") for content in sorted(spec.assets)],
        },
    )
    yield {"done": stage_video(Path(job["staged"]), record).model_dump(mode="json")}


def prepare_job(engine: Engine, job: Event) -> Iterator[Event]:
    """Prepare the pack model ``job["model"]`` in the store; yields its catalog entry and what was left out."""
    asset, warnings = prepare_model(job["model"], AssetStore(Path(job["store"])))
    yield {"done": asset, "warnings": warnings}


JOBS: dict[str, Callable[[Engine, Event], Iterator[Event]]] = {"prepare": prepare_job, "render": render_job}


def serve(connection: Connection, engine: Engine) -> None:
    """Answer jobs until the other end closes."""
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            for event in JOBS[job["do"]](engine, job):
                connection.send(event)
        except VOSForgeError as error:
            connection.send({"error": str(error)})


def main() -> None:
    """Set the process up and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the owner decides
    end_with_owner()
    serve(Connection(int(sys.argv[1])), Engine(threads=int(sys.argv[2])))


if __name__ == "__main__":
    main()
