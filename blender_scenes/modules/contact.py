"""Contact: objects that stand on the ground, upright, instead of floating above it."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import each_changed, marked
from blender_scenes.modules.view import View
from blender_scenes.object_spec import CurveMotion, ObjectSpec
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import evaluate, fit_spline
from vosforge.config import Record, Share

RISE = 0.3
"""About how high a standing object's centre is, in its scale."""
NEAR, FAR = 2.5, 13.0
"""Range of the distance at which objects may stand, in metres along the camera's axis."""
BEFORE_WALL = 0.8
"""Metres that they keep away from the back wall."""
LOWERED = 9
"""How many heights a path is tried at."""
CLOSE = 0.01
"""How far the path on the ground may be from the one in the image, in image heights."""
RESIZED = (0.4, 2.5)
"""Range of the factor that keeps an object as large in the image where it stands."""


class Contact(Record):
    """Sets objects of scenes with a ground down on it, along the paths they have in the image, or some way below.

    Those whose path would have to be more than ``bend`` lower go on floating.
    """

    share: Annotated[Share, Field(description="share of objects and distractors that stand where they can")] = 0.7
    bend: Annotated[Share, Field(description="by how much a path may be lowered, in image heights")] = 0.3

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with objects on its ground."""
        view = View(scene)
        return each_changed(scene, rng, lambda item, own: self._set_down(item, own, view))

    def _set_down(self, item: ObjectSpec, rng: np.random.Generator, view: View) -> ObjectSpec:
        if rng.random() >= self.share:
            return item
        item = marked(item, "contact", wanted=True)
        ground, motion = view.scene.ground, item.motion
        if ground is None or not isinstance(motion, CurveMotion):
            return item
        places = view.places(item)
        level = ground.offset + RISE * evaluate(motion.scale, view.moments)[:, 2]
        for lower in np.linspace(0, self.bend, LOWERED):  # all of a path that is lowered goes as it went
            world = self._on_ground(view, places + np.array([0.0, lower, 0.0]), level)
            moved = view.seen(world)
            if np.linalg.norm(moved[:, :2] - places[:, :2] - np.array([0.0, lower]), axis=1).max() < CLOSE:
                break
        else:
            return item
        larger = float(np.clip(np.median(moved[:, 2] / places[:, 2]), *RESIZED))
        turned = evaluate(motion.rotation, view.moments) * [0, 0, 1]  # upright
        scale = evaluate(motion.scale, view.moments) * larger
        standing = CurveMotion(location=fit_spline(world), rotation=fit_spline(turned), scale=fit_spline(scale))
        return item.model_copy(update={"motion": standing, "stands": True})

    def _on_ground(self, view: View, places: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Where the rays to image places ``[N, 3]`` meet the height ``level [N]``, no nearer or farther than may be."""
        origin = np.linalg.inv(view.to_camera)[:, :3, 3]
        ahead = view.world(np.column_stack([places[:, :2], np.ones(len(places))])) - origin
        far = np.full(len(places), FAR)
        if view.scene.backdrop is not None:
            far = np.minimum(far, np.maximum(view.scene.backdrop.offset - BEFORE_WALL - origin[:, 1], NEAR))
        down = ahead[:, 2] < -1e-6
        distance = np.where(down, (level - origin[:, 2]) / np.where(down, ahead[:, 2], -1.0), far)
        world = origin + np.clip(distance, NEAR, far)[:, None] * ahead
        world[:, 2] = level
        return world
