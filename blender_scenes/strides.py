"""Strides: clips that show only every second, third, … frame of a scene's motion."""

from typing import Any

from blender_scenes.modules.marks import marked
from blender_scenes.object_spec import BakedMotion, ObjectSpec
from blender_scenes.spec import CameraSpec, Cut, SceneSpec


def every(stride: int, scene: SceneSpec) -> SceneSpec:
    """``scene`` with only every ``stride``-th of its frames, counted from the first; exposures stay as long.

    Curves run over the whole video, from its first frame to its last, and stay as they are.
    """
    if stride == 1:
        return scene

    def motion(of: Any) -> Any:
        return of.model_copy(update={"poses": of.poses[::stride]}) if isinstance(of, BakedMotion) else of

    def thinned(items: tuple[ObjectSpec, ...]) -> tuple[ObjectSpec, ...]:
        return tuple(
            item.model_copy(
                update={
                    "motion": motion(item.motion),
                    "cloth": item.cloth and item.cloth.model_copy(update={"rate": item.cloth.rate / stride}),
                }
            )
            for item in items
        )

    camera, physics, rain, render = scene.camera, scene.physics, scene.rain, scene.render
    left = (render.frames - 1) // stride + 1
    cuts = tuple(
        cut.model_copy(update={"motion": motion(cut.motion)}) for cut in fewer_cuts(camera, render.frames, left)
    )
    changes = {"motion": motion(camera.motion), "cuts": cuts, "shutter": camera.shutter / stride}
    changed = scene.model_copy(
        update={
            "objects": thinned(scene.objects),
            "distractors": thinned(scene.distractors),
            "camera": camera.model_copy(update=changes),
            "physics": physics and physics.model_copy(update={"rate": physics.rate / stride}),
            "rain": rain and rain.model_copy(update={"rate": rain.rate / stride}),
            "render": render.model_copy(update={"frames": left}),
        }
    )
    return marked(changed, "stride", stride=stride)


def fewer_cuts(camera: CameraSpec, frames: int, left: int) -> tuple[Cut, ...]:
    """The cuts of a video of ``frames`` of which ``left``, spread evenly, are shown; shots without a frame are gone."""
    cuts = {-(-cut.frame * (left - 1) // (frames - 1)): cut for cut in camera.cuts}
    return tuple(cut.model_copy(update={"frame": frame}) for frame, cut in cuts.items())
