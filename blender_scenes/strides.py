"""Strides: clips that show only every second, third, … frame of a scene's motion."""

from typing import Any

from blender_scenes.modules.marks import marked
from blender_scenes.spec import BakedMotion, ObjectSpec, SceneSpec


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

    camera, physics, render = scene.camera, scene.physics, scene.render
    changed = scene.model_copy(
        update={
            "objects": thinned(scene.objects),
            "distractors": thinned(scene.distractors),
            "camera": camera.model_copy(update={"motion": motion(camera.motion), "shutter": camera.shutter / stride}),
            "physics": physics and physics.model_copy(update={"rate": physics.rate / stride}),
            "render": render.model_copy(update={"frames": (render.frames - 1) // stride + 1}),
        }
    )
    return marked(changed, "stride", stride=stride)
