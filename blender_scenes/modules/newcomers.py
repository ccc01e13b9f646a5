"""Objects that modules add to a scene: where they first stand and how they turn."""

import numpy as np

from assets.catalog import Catalog
from blender_scenes.choose import assets_of, pick
from blender_scenes.modules.view import MEAN_AREA, View, mean_square
from blender_scenes.object_spec import CurveMotion, ObjectSpec
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import CONTROL_POINTS, fit_curve, fit_spline

MAX_DISTRACTORS = 20
"""Modules add distractors up to this number."""
TEXTURED = 0.55
"""Share of newcomers whose texture is replaced, as in ``basic``."""
TURN = 0.04
"""Spread of a newcomer's turn about each axis, in radians a frame."""
NEAREST = 1.2
"""Nothing is put closer to the camera, in metres."""
DRIFT = 0.03
"""Spread of its step on each axis, in metres a frame."""


def stranger(rng: np.random.Generator, scene: SceneSpec, assets: Catalog, turn: float = TURN) -> ObjectSpec:
    """Any model, textured or as it is, at a random place in view that drifts and turns."""
    mesh = pick(rng, assets_of(assets, "mesh", scene.split))
    texture = pick(rng, assets_of(assets, "texture", scene.split)).hash
    return ObjectSpec(
        mesh=mesh.hash,
        category=mesh.category,
        texture=texture if rng.random() < TEXTURED else None,
        motion=wandering(rng, scene, rng.uniform(1.25, 3.0, 3), turn),
    )


def wandering(rng: np.random.Generator, scene: SceneSpec, scale: np.ndarray, turn: float = TURN) -> CurveMotion:
    """A slow walk from a random place in view, with turns, at one scale ``[3]``."""
    view, frames = View(scene), scene.render.frames / (CONTROL_POINTS - 1)
    x, y = rng.uniform(-0.85, 0.85, 2) * view.half
    places = np.tile([x, y, rng.uniform(8.0, 12.5)], (view.moments, 1))
    steps = rng.normal(0, DRIFT * frames, (CONTROL_POINTS, 3))
    turns = rng.normal(0, turn * frames, (CONTROL_POINTS, 3))
    turns[0] = rng.uniform(0, 2 * np.pi, 3)
    return CurveMotion(
        location=fit_curve(view.world(places)[0] + steps.cumsum(axis=0) - steps[0]),
        rotation=fit_curve(turns.cumsum(axis=0)),
        scale=fit_curve(np.tile(scale, (CONTROL_POINTS, 1))),
    )


def with_distractor(scene: SceneSpec, item: ObjectSpec) -> SceneSpec:
    """The scene with one more distractor; as it is where it has `MAX_DISTRACTORS`."""
    if len(scene.distractors) >= MAX_DISTRACTORS:
        return scene
    return scene.model_copy(update={"distractors": (*scene.distractors, item)})


def in_front(
    rng: np.random.Generator, scene: SceneSpec, assets: Catalog, view: View, places: np.ndarray, radius: np.ndarray
) -> ObjectSpec:
    """Any model along image places ``[N, 3]``, about as large as a disc of ``radius [N]`` in image heights."""
    item = stranger(rng, scene, assets, turn=0.1 * TURN)
    shape = rng.uniform(0.8, 1.25, 3)
    size = radius * places[:, 2] / view.focal * np.sqrt(np.pi / MEAN_AREA / mean_square(shape))
    assert isinstance(item.motion, CurveMotion)
    motion = item.motion.model_copy(update={"scale": fit_spline(size[:, None] * shape)})
    return view.moved(item.model_copy(update={"motion": motion}), places)


def crossing(
    rng: np.random.Generator,
    scene: SceneSpec,
    assets: Catalog,
    view: View,
    item: ObjectSpec,
    start: float,
    end: float,
) -> ObjectSpec:
    """A distractor that crosses before ``item`` and hides all of it from ``start`` to ``end``, shares of the video."""
    places, reach, u = view.places(item), view.reach(item), np.linspace(0, 1, view.moments)
    radius = float(reach.mean()) * 1.35
    spare = radius - float(reach.mean())
    middle, half = (start + min(end, 1.0)) / 2, max((min(end, 1.0) - start) / 2, 0.02)
    if end > 1:  # it stays
        middle, half = start + 0.1, 0.1
    direction = rng.uniform(0, 2 * np.pi)
    offset = spare * (u - middle) / half
    if end > 1:
        offset = np.minimum(offset, 0.0)
    places[:, :2] += offset[:, None] * np.array([np.cos(direction), np.sin(direction)])
    places[:, 2] = np.maximum(places[:, 2] * rng.uniform(0.45, 0.75), NEAREST)
    return in_front(rng, scene, assets, view, places, np.full(view.moments, radius))
