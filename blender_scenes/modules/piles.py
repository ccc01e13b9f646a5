"""Piles: objects lie on and against one another on one place of the floor.

They are dropped one above another between walls that are gone when the video begins; then the pile gives way a little.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from blender_scenes.modules.floor import scale_of, seen_on_floor
from blender_scenes.modules.marks import marked
from blender_scenes.object_spec import ObjectSpec, PhysicsSpec, SimulatedMotion
from blender_scenes.spec import SceneSpec
from vosforge.config import Range, Record, Share

Ends = tuple[float, float]
REACH = 0.5
"""How far a prepared mesh at most reaches from its origin, as a share of its scale: the diagonal of its box is 1."""
GAP = 0.05
"""Metres between one thing and the next when they are let go."""


class Pile(Record):
    """Objects keep their proportions; one factor scales all, and the pile fits into the view."""

    largest: Annotated[
        Range[Annotated[float, Field(gt=0)]], Field(description="size in metres of the largest thing in the pile")
    ] = (0.9, 1.5)
    smallest: Annotated[Share, Field(description="size of the smallest, as a share of the largest's")] = 0.8
    within: Annotated[
        Share, Field(description="distance from the pile's middle at which they are let go, as a share of that size")
    ] = 0.05
    distractors: Annotated[Share, Field(description="share of the scene's distractors that take part")] = 0.7

    def changes(
        self, scene: SceneSpec, rng: np.random.Generator, physics: PhysicsSpec, friction: Ends
    ) -> tuple[list[ObjectSpec], list[ObjectSpec], PhysicsSpec]:
        """Objects and distractors of ``scene``, each let go above all before it, and physics with what holds them."""
        place_rng, size_rng, *two = rng.spawn(4)
        largest = float(size_rng.uniform(*self.largest))
        middle = seen_on_floor(place_rng, scene, physics.floor, x=0.4, y=0.75, reach=largest)
        K = len(scene.objects)
        items = [*scene.objects, *scene.distractors]
        streams = [*two[0].spawn(K), *two[1].spawn(len(scene.distractors))]
        numbers = [n for n, own in enumerate(streams) if own.random() < self.distractors or n < K]
        factor = largest / max(float(scale_of(items[n]).max()) for n in numbers)
        below: list[np.ndarray] = []
        for n in numbers:
            own, scale = streams[n], factor * scale_of(items[n])
            scale *= max(1.0, self.smallest * largest / scale.max())
            place = self._place(own.spawn(1)[0], middle, largest, REACH * float(scale.max()), below)
            motion = SimulatedMotion(
                location=(float(place[0]), float(place[1]), float(place[2])),
                rotation=tuple(own.uniform(0, 2 * np.pi, 3).tolist()),
                scale=tuple(scale.tolist()),
                mass=float(np.prod(scale)),
                friction=float(own.uniform(*friction)),
                bounce=0.0,  # or the pile would fly apart
                settled=True,
            )
            changed = items[n].model_copy(update={"motion": motion, "stands": False})
            items[n] = marked(changed, "physics", kind="pile")
        pit = (float(middle[0]), float(middle[1]), largest * (self.within + REACH))
        return items[:K], items[K:], physics.model_copy(update={"pit": pit})

    def _place(
        self, rng: np.random.Generator, middle: np.ndarray, largest: float, reach: float, below: list[np.ndarray]
    ) -> np.ndarray:
        """A place near the middle above all of ``below`` there, to which it is added.

        Each of ``below`` is an upright cylinder around a thing: x, y, its top and its radius.
        """
        angle, far = rng.uniform(0, 2 * np.pi), self.within * largest * np.sqrt(rng.random())
        x, y = middle[:2] + far * np.array([np.cos(angle), np.sin(angle)])
        tops = [top for u, v, top, radius in below if np.hypot(u - x, v - y) < radius + reach]
        z = max([middle[2], *tops]) + GAP
        below.append(np.array([x, y, z + 2 * reach, reach]))
        return np.array([x, y, z])
