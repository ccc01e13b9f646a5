"""Speeds: how far objects move in the image from frame to frame, from hardly at all to a blur."""

from statistics import NormalDist
from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import each_changed, marked
from blender_scenes.modules.view import ROWS, View, folded
from blender_scenes.spec import ObjectSpec, SceneSpec
from vosforge.config import Record, Share

FAST, VERY_FAST = 20.0, 60.0
"""Pixels a frame at 480 rows."""
RANGE = (0.2, 110.0)
"""Slowest and fastest."""
INNER = 0.5
"""How much of an object's mean radius stays inside the image where it turns back."""
WAVES = (0.5, 3.0)
"""How often it speeds up and slows down in a video."""


class Speeds(Record):
    """Each object moves through the image at its own mean speed, in pixels a frame of an image of 480 rows.

    It wanders in view and turns back at the border. Its depth, size and turns stay as they are.
    """

    median: Annotated[float, Field(gt=0, lt=20, description="median of the mean speeds")] = 4.0
    fast: Annotated[Share, Field(gt=0, lt=0.5, description="share of objects over 20")] = 0.2
    very_fast: Annotated[Share, Field(gt=0, lt=0.5, description="share of objects over 60; fewer than fast ones")] = (
        0.03
    )

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with all objects and distractors on new paths."""
        view = View(scene)
        return each_changed(scene, rng, lambda item, own: self._sped(item, own, view))

    def _speed(self, rng: np.random.Generator) -> float:
        """A mean speed: its logarithm is piecewise linear in a normal number."""
        fast, very_fast = (NormalDist().inv_cdf(1 - share) for share in (self.fast, self.very_fast))
        known = np.log([self.median, FAST, VERY_FAST])
        number = rng.normal()
        slope = (known[1] - known[0]) / fast if number < 0 else (known[2] - known[1]) / (very_fast - fast)
        inside = np.interp(number, [0, fast, very_fast], known)
        return float(np.clip(np.exp(inside + slope * (min(number, 0) + max(number - very_fast, 0))), *RANGE))

    def _sped(self, item: ObjectSpec, rng: np.random.Generator, view: View) -> ObjectSpec:
        speed = self._speed(rng)
        u = np.linspace(0, 1, view.moments)
        heading = rng.uniform(0, 2 * np.pi) + rng.normal(0, 1.2) * u
        pulse = 1 + rng.uniform(0, 0.7) * np.sin(2 * np.pi * (rng.uniform(*WAVES) * u + rng.random()))
        places, radius = view.places(item), view.radius(item)
        steps = pulse[1:] / pulse[1:].mean() * speed / ROWS * view.pace
        way = np.stack([np.cos(heading[1:]), np.sin(heading[1:])], axis=1) * steps[:, None]
        room = np.maximum(view.half - INNER * radius[:, None], 0.3 * view.half)
        start = np.clip(places[0, :2], -0.95 * room[0], 0.95 * room[0])
        flat = folded(start + np.concatenate([np.zeros((1, 2)), way.cumsum(axis=0)]), room.min(axis=0))
        return marked(view.moved(item, np.column_stack([flat, places[:, 2]])), "speeds", speed=speed)
