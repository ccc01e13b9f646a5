"""``python -m benchmarks.null_child FD THREADS DEVICE``: stands in for a Blender process, to see what all else costs.

It imports neither bpy nor torch. Each video is sent frame by frame and staged as a complete record; nothing is drawn
or rendered. Started by `benchmarks.farm` and tests.
"""

import io
import signal
import sys
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

from blender_scenes.object_spec import Curve, CurveMotion, ObjectSpec
from blender_scenes.spec import CameraSpec, LookAtMotion, RenderSettings, SceneSpec, video_id
from render.farm.events import Done, Frames, Ready
from render.farm.places import Places
from render.farm.process import Job
from vosforge.processes import end_with_owner
from vosforge.videos import SceneRecord, VideoRecord, stage_video

FRAMES, SIDE, OBJECTS = 160, 16, 3
RENDERER = "nothing"


@cache
def _jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((SIDE, SIDE, 3), 99, np.uint8)).save(file, "jpeg")
    return file.getvalue()


def spec_of(index: int) -> SceneSpec:
    """A scene of three objects that stand still."""
    still = Curve(axes=((0.0,), (0.0,), (0.0,)))
    motion = CurveMotion(location=still, rotation=still, scale=still)
    return SceneSpec(
        preset="null",
        seed=0,
        index=index,
        split="train",
        objects=tuple(ObjectSpec(mesh=f"{k:032x}", category="thing", motion=motion) for k in range(OBJECTS)),
        camera=CameraSpec(motion=LookAtMotion(location=still, look_at=still), fov=1.0),
        lights=(),
        render=RenderSettings(width=SIDE, height=SIDE, frames=FRAMES),
    )


def record_of(index: int) -> VideoRecord:
    """A complete record of 160 frames at 16×16 that differs from video to video."""
    mask = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    for k in range(OBJECTS):
        mask[:, (index + 5 * k) % SIDE, 4 * k :] = k + 1
    return VideoRecord(
        id=video_id(index),
        split="train",
        rgb=(_jpeg(),) * FRAMES,
        encoding="jpeg",
        mask=mask,
        category=("thing",) * OBJECTS,
        darkest=99.0,
        scene=SceneRecord(
            spec=spec_of(index).model_dump_json(),
            intrinsics=np.zeros((FRAMES, 3, 3)),
            world_to_camera=np.zeros((FRAMES, 4, 4)),
            pose=np.zeros((FRAMES, OBJECTS, 4, 4)),
            asset=tuple(f"{k:032x}" for k in range(OBJECTS)),
        ),
        attributes={"seed": 0, "attempt": 0, "renderer": RENDERER},
    )


def answer(connection: Connection, job: Job) -> None:
    """Send the events of one video and stage it; a proof that it renders needs nothing."""
    if job["do"] == "prove":
        connection.send(Done(0))
        return
    for _ in range(FRAMES):
        connection.send(Frames())
    stage_video(Places(Path(job["dataset"])).staged(job["index"]), record_of(job["index"]))
    connection.send(Done(renderer=RENDERER))


def main() -> None:
    """Answer jobs until the owner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_owner()
    owner = Connection(int(sys.argv[1]))
    owner.send(Ready())
    while True:
        try:
            answer(owner, owner.recv())
        except EOFError:
            return


if __name__ == "__main__":
    main()
