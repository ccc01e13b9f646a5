"""Toss: some objects are thrown over a floor, toward its middle, and the others lie there when the video begins."""

from typing import Annotated

import numpy as np
from pydantic import Field

from blender_scenes.modules.floor import REACH, REDRAWS, scale_of
from blender_scenes.modules.marks import marked
from blender_scenes.object_spec import ObjectSpec, PhysicsSpec, SimulatedMotion
from blender_scenes.spec import SceneSpec
from vosforge.config import Amount, Range, Record

LIFT = 0.25
"""Metres by which each redraw lets an object go higher; what finds no room on a crowded floor falls on what lies there.
"""


class Toss(Record):
    """Objects keep their proportions; middle of the floor: below the origin. The defaults are those of MOVi-D."""

    number: Annotated[
        Range[Annotated[int, Field(ge=0)]], Field(description="number of tossed objects; the others lie on the floor")
    ] = (1, 3)
    within: Annotated[Amount, Field(description="metres from the middle, in x and y, where they are let go")] = 5.0
    height: Annotated[Range[Amount], Field(description="metres above the floor where they are let go")] = (1.0, 5.0)
    speed: Annotated[
        Amount, Field(description="maximum speed in x and y, added to that which leads to the middle in a second")
    ] = 4.0
    lying_within: Annotated[Amount, Field(description="metres from the middle, in x and y, where others lie")] = 7.0

    def objects(
        self,
        scene: SceneSpec,
        rng: np.random.Generator,
        physics: PhysicsSpec,
        friction: tuple[float, float],
        bounce: tuple[float, float],
    ) -> tuple[ObjectSpec, ...]:
        """The objects of ``scene``, tossed or lying, clear of one another."""
        K = len(scene.objects)
        tossed = set(rng.permutation(K)[: int(rng.integers(self.number[0], self.number[1] + 1))].tolist())
        balls: list[tuple[np.ndarray, float]] = []
        streams = dict(enumerate(rng.spawn(K)))
        found: dict[int, ObjectSpec] = {}
        for k in sorted(range(K), key=lambda k: k in tossed):  # those that lie come first
            item, own = scene.objects[k], streams[k]
            size = float(scale_of(item)[0])
            place = self._place(own.spawn(1)[0], k in tossed, size, balls)
            thrown = own.uniform(-self.speed, self.speed, 2) - place[:2]
            motion = SimulatedMotion(
                location=(float(place[0]), float(place[1]), physics.floor + float(place[2])),
                rotation=tuple(own.uniform(0, 2 * np.pi, 3).tolist()),
                scale=(size, size, size),
                velocity=(float(thrown[0]), float(thrown[1]), 0.0) if k in tossed else (0.0, 0.0, 0.0),
                mass=size**3,
                friction=float(own.uniform(*friction)),
                bounce=float(own.uniform(*bounce)),
                settled=k not in tossed,
            )
            kind = "toss" if k in tossed else "lie"
            found[k] = marked(item.model_copy(update={"motion": motion, "stands": False}), "physics", kind=kind)
        return tuple(found[k] for k in range(K))

    def _place(
        self, rng: np.random.Generator, tossed: bool, size: float, balls: list[tuple[np.ndarray, float]]
    ) -> np.ndarray:
        """Where an object is let go, above the middle of the floor, clear of ``balls``, to which it is added."""
        within = self.within if tossed else self.lying_within
        for attempt in range(REDRAWS):
            height = rng.uniform(*self.height) if tossed else 0.0
            place = np.array([*rng.uniform(-within, within, 2), height + LIFT * attempt])
            reach = REACH * size
            middle = place + np.array([0.0, 0.0, reach])
            if all(np.linalg.norm(middle - other) > reach + far for other, far in balls):
                break
        balls.append((middle, reach))
        return place
