"""Occluders: distractors that move in front of objects and hide known shares of them."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import amounts_of, marked
from blender_scenes.modules.newcomers import NEAREST, in_front, with_distractor
from blender_scenes.modules.view import View
from blender_scenes.object_spec import ObjectSpec
from blender_scenes.spec import SceneSpec
from vosforge.config import Amount, Range, Record, Share

SPOTS = 64
"""Points of a disc at which its occlusion is looked at."""
HEAVY = (0.64, 0.9)
"""How much of a heavily occluded object is hidden, by mean over time."""
SPREAD = 0.25
"""Occlusion of the others is drawn as evenly about its mean."""
EXCESS = 0.48
"""How much of what is hidden, and how often much is, need be drawn: other objects hide some by chance."""
UNHURRIED = 4.0
"""Occluders of slower objects are slower, too; in pixels a frame."""
SMALLEST = 0.015
"""Minimum radius of an occluder, in image heights."""


class Occluders(Record):
    """Objects get an occluder that hides as much of them, by mean over time, as the objects before them leave to hide.

    What stands where is known by discs only, as the meshes are not read to draw a scene.
    """

    mean: Annotated[Share, Field(description="mean hidden share of an object")] = 0.3
    heavy: Annotated[Share, Field(description="share of objects of which more than 60 % is hidden")] = 0.15
    free: Annotated[Share, Field(description="share of objects without an occluder of their own")] = 0.3
    relative_size: Annotated[Range[Amount], Field(description="their radii, relative to their objects'")] = (0.9, 2.0)

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with occluders, as long as it may have more distractors."""
        objects, view = [], View(scene)
        standing = [(view.places(item), view.radius(item)) for item in (*scene.objects, *scene.distractors)]
        for item, own in zip(scene.objects, rng.spawn(len(scene.objects)), strict=True):
            wanted = self._wanted(own)
            if wanted:
                made = self._before(own, scene, assets, view, item, wanted, standing)
                if made is not None:
                    scene = with_distractor(scene, marked(made, "occluders"))
                    standing.append((view.places(made), view.radius(made)))
            objects.append(marked(item, "occluders", hidden=wanted) if wanted else item)
        return scene.model_copy(update={"objects": tuple(objects)})

    def _wanted(self, rng: np.random.Generator) -> float:
        """How much of an object is to be hidden; 0 for one without an occluder of its own."""
        kind = rng.random()
        if kind < self.heavy * EXCESS:
            return float(rng.uniform(*HEAVY))
        if kind < self.heavy + self.free or self.heavy + self.free >= 1:
            return 0.0
        rest = (EXCESS * self.mean - self.heavy * sum(HEAVY) / 2) / (1 - self.heavy - self.free)
        return float(np.clip(rng.uniform(rest - SPREAD, rest + SPREAD), 0.02, 0.6))

    def _before(
        self,
        rng: np.random.Generator,
        scene: SceneSpec,
        assets: Catalog,
        view: View,
        item: ObjectSpec,
        wanted: float,
        standing: list[tuple[np.ndarray, np.ndarray]],
    ) -> ObjectSpec | None:
        """An occluder that makes up for what is not hidden yet; None if enough is.

        standing: the places ``[N, 3]`` and radii ``[N]`` of all objects and distractors.
        """
        places, radius = view.places(item), view.radius(item)
        nearer = [(at, size) for at, size in standing if at[:, 2].mean() < places[:, 2].mean()]
        spots = places[:, None, :2] + radius[:, None, None] * disc(SPOTS)
        hidden = np.zeros(spots.shape[:2], bool)
        for at, size in nearer:
            hidden |= np.linalg.norm(spots - at[:, None, :2], axis=2) < size[:, None]
        heavy = wanted > 0.6
        size = np.maximum(radius * rng.uniform(*self.relative_size) * (1.3 if heavy else 1.0), SMALLEST)
        angle, turn = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.5)
        u = np.linspace(0, 1, view.moments)
        slide = rng.uniform(0.03, 0.15) if heavy else rng.uniform(0.03, 0.3)
        slide *= _pace(item)
        along = slide * 2 * (u - rng.uniform(0.3, 0.7)) * rng.choice([-1.0, 1.0])
        heading = angle + turn * u
        across = rng.uniform(0.2, 1.0)
        course = along[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        course += across * np.stack([-np.sin(heading), np.cos(heading)], axis=1)
        course *= (radius + size)[:, None]

        def mean_hidden(distance: float) -> float:
            apart = np.linalg.norm(spots - (places[:, :2] + distance * course)[:, None], axis=2)
            return float((hidden | (apart < size[:, None])).mean())

        if hidden.mean() >= wanted:
            return None
        near, far = 0.0, 4.0
        for _ in range(20):
            middle = (near + far) / 2
            near, far = (middle, far) if mean_hidden(middle) > wanted else (near, middle)
        depth = np.maximum(places[:, 2] * rng.uniform(0.5, 0.85), NEAREST)
        course = np.column_stack([places[:, :2] + near * course, depth])
        return in_front(rng, scene, assets, view, course, size)


def _pace(item: ObjectSpec) -> float:
    """How fast an occluder moves across its object: slowly if that is slow, whose visible part it would move."""
    speed = (amounts_of(item, "paths") or {}).get("speed", UNHURRIED)
    return float(np.clip(float(speed) / UNHURRIED, 0.1, 1.0))


def disc(count: int) -> np.ndarray:
    """Points spread evenly over the unit disc: ``[count, 2]``."""
    n = np.arange(count) + 0.5
    angle = n * np.pi * (3 - np.sqrt(5))
    return np.sqrt(n / count)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
