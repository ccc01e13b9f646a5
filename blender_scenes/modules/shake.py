"""Shake: a camera held by hand, after all objects were placed."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import marked
from blender_scenes.modules.view import ROWS, View
from blender_scenes.spec import LookAtMotion, SceneSpec
from blender_scenes.trajectories import evaluate, fit_spline, motion_poses
from vosforge.config import Amount, Range, Record, Share

WAVES = 5
"""Number of sine waves that a shake adds up on each axis."""


class Shake(Record):
    """Shakes the camera of some scenes; the whole image moves."""

    share: Annotated[Share, Field(description="share of scenes with a hand-held camera")] = 0.35
    pixels: Annotated[
        Range[Amount], Field(description="root mean square of how far the image moves, in pixels at 480 rows")
    ] = (0.5, 3.0)
    period: Annotated[Range[Amount], Field(description="frames that one swing takes; at least 4")] = (5.0, 24.0)
    sway: Annotated[Amount, Field(description="metres that the camera moves by for each pixel")] = 0.004

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene from a hand-held camera, or as it was."""
        motion = scene.camera.motion
        if rng.random() >= self.share or not isinstance(motion, LookAtMotion):
            return scene
        pixels = float(np.exp(rng.uniform(*np.log(np.maximum(self.pixels, 1e-3)))))
        view = View(scene)
        swings, sways = (self._noise(rng, view) * pixels for _ in range(2))

        def shaken(motion: LookAtMotion) -> LookAtMotion:
            location, target = evaluate(motion.location, view.moments), evaluate(motion.look_at, view.moments)
            distance = np.linalg.norm(target - location, axis=1, keepdims=True)
            axes = motion_poses(motion, view.moments)[:, :2, :3]  # right and down, in the world
            target = target + np.einsum("nk,nkd->nd", swings / ROWS * distance / view.focal[:, None], axes)
            swayed = np.einsum("nk,nkd->nd", sways * self.sway, axes)
            return LookAtMotion(location=fit_spline(location + swayed), look_at=fit_spline(target + swayed))

        cuts = tuple(
            cut.model_copy(update={"motion": shaken(cut.motion)}) if isinstance(cut.motion, LookAtMotion) else cut
            for cut in scene.camera.cuts
        )
        camera = scene.camera.model_copy(update={"motion": shaken(motion), "cuts": cuts})
        return marked(scene.model_copy(update={"camera": camera}), "shake", pixels=pixels)

    def _noise(self, rng: np.random.Generator, view: View) -> np.ndarray:
        """Right and down at each moment: ``[N, 2]``; the root mean square of their length is 1 in a long video."""
        frame = np.arange(view.moments) * view.pace
        shortest, longest = np.log(np.maximum(self.period, 4.0))
        period = np.exp(rng.uniform(shortest, longest, (WAVES, 1, 2)))
        waves = np.sin(2 * np.pi * (frame[:, None] / period + rng.random((WAVES, 1, 2))))
        return np.asarray(waves.sum(axis=0) / np.sqrt(WAVES))
