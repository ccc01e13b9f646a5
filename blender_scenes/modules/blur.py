"""Blur: a shutter that is open while things move, drawn when all motion is known. Labels are those of the instant."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import marked
from blender_scenes.modules.view import ROWS, View, centres
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import camera_poses, focal_lengths, shots
from vosforge.config import Amount, Range, Record, Share


class Blur(Record):
    """Opens the shutter of some scenes for as long as blurs their fastest labelled object by so many pixels."""

    share: Annotated[Share, Field(description="share of scenes with motion blur")] = 0.33
    length: Annotated[Range[Amount], Field(description="pixels at 480 rows; slow objects blur less")] = (6.0, 30.0)
    shutter: Annotated[Share, Field(description="longest exposure, as a share of the time between frames")] = 1.0

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene behind an open shutter, or as it was."""
        if rng.random() >= self.share:
            return scene
        length = float(np.exp(rng.uniform(*np.log(np.maximum(self.length, 1e-3)))))
        shutter = min(self.shutter, length / max(fastest(scene), 1e-6))
        camera = scene.camera.model_copy(update={"shutter": float(shutter)})
        return marked(scene.model_copy(update={"camera": camera}), "blur", length=length)


def fastest(scene: SceneSpec) -> float:
    """How fast the centre of the fastest labelled object moves on average while in view: pixels a frame at 480 rows.

    That is what is measured of it (`vosforge.amounts.blur`).
    """
    frames, view = scene.render.frames, View(scene)
    to_camera = camera_poses(scene.camera, frames)
    focal = focal_lengths(scene.camera, scene.render.width / scene.render.height, frames)[:, None]
    within = np.diff(shots(scene.camera, frames)) == 0
    speeds = [0.0]
    for item in scene.objects:
        place = np.einsum("tij,tj->ti", to_camera[:, :3, :3], centres(item, scene)) + to_camera[:, :3, 3]
        pixel = place[:, :2] / np.maximum(place[:, 2:], 0.1) * focal
        inside = (np.abs(pixel) < view.half).all(axis=1) & (place[:, 2] > 0.1)
        steps = np.linalg.norm(np.diff(pixel, axis=0), axis=1)[inside[1:] & inside[:-1] & within] * ROWS
        if len(steps):
            speeds.append(float(steps.mean()))
    return max(speeds)
