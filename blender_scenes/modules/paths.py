"""Paths through the image: slow to very fast, and some that leave the view, or end behind something, and return."""

from statistics import NormalDist
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import marked
from blender_scenes.modules.newcomers import crossing, with_distractor
from blender_scenes.modules.view import ROWS, View, folded, smooth
from blender_scenes.object_spec import CurveMotion, ObjectSpec
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import evaluate, fit_spline
from vosforge.config import Amount, Range, Record, Share

FAST, VERY_FAST = 20.0, 60.0
"""Pixels a frame at 480 rows."""
SPEEDS = (0.2, 110.0)
"""Slowest and fastest."""
ANYWAY_MOVED, FEWER = 3.99, 0.8
"""Turns, occlusion and leaving the view move what is seen of an object by themselves: by about so many pixels a frame,
and so much less often need objects be fast."""
CALM = NormalDist().inv_cdf(0.72)
"""The share of objects that are drawn as slow as that, as a normal number."""
TURNING = 25.0
"""Objects slower than this turn less, in pixels a frame."""
INNER = 0.5
"""How much of an object's mean radius stays inside the image where it turns back."""
WAVES = (0.5, 3.0)
"""How often it speeds up and slows down in a video."""
BEYOND = 0.9
"""How far outside of the image a centre goes, in reaches of the object."""
ANYWAY_ABSENT = 0.12
"""Share of objects that are absent in some frame behind others, whatever their paths."""
LATE = 1.15
"""Some do not return before the video ends."""
DEPTHS = (4.0, 11.0)
"""Distances of the slowest and the fastest. What passes in front of an object moves what is seen of it."""
NEAREST, FARTHEST = 3.0, 13.0


class Draw(NamedTuple):
    """What is drawn for an object's path."""

    speed: float
    rank: float
    """0 for the slowest, 1 for the fastest."""
    absent: bool
    behind: bool
    start: float
    gap: float
    returns: bool


class Paths(Record):
    """Each object moves through the image at its own mean speed, in pixels a frame of an image of 480 rows.

    It wanders in view and goes back at the border, unless it is one of those that are out of sight for some frames:
    outside of the image, or behind a distractor that crosses in front of it. Slow objects turn less.
    """

    median: Annotated[float, Field(gt=0, lt=20, description="median of the mean speeds")] = 4.0
    fast: Annotated[Share, Field(gt=0, lt=0.5, description="share of objects over 20")] = 0.2
    very_fast: Annotated[Share, Field(gt=0, lt=0.5, description="share of objects over 60; less than fast")] = 0.03
    distractors: Annotated[Amount, Field(description="speed of distractors, relative to that of objects")] = 0.15
    absent: Annotated[Share, Field(description="share of objects that are absent in some frame")] = 0.45
    returning: Annotated[Share, Field(description="share of these that return")] = 0.7
    behind: Annotated[Share, Field(description="share of these that hide behind a distractor, if small enough")] = 0.3
    hidden_radius: Annotated[Share, Field(description="reach up to which objects hide, in image heights")] = 0.16
    gap: Annotated[Range[Share], Field(description="how long they stay away, as a share of the video")] = (0.06, 0.4)

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with all objects and distractors on new paths, and distractors to hide behind."""
        view, K = View(scene), len(scene.objects)
        streams = rng.spawn(K + len(scene.distractors))
        objects, screens = [], []
        for item, own in zip(scene.objects, streams[:K], strict=True):
            drawn = self._drawn(own)
            item = _sent(item, own, view, drawn.speed, drawn.rank)
            told: dict[str, float | bool] = {"speed": drawn.speed, "absent": drawn.absent}
            if drawn.absent:
                hides = drawn.behind and bool(view.reach(item).mean() < self.hidden_radius)
                told |= {"start": drawn.start, "gap": drawn.gap, "returns": drawn.returns, "behind": hides}
                end = drawn.start + drawn.gap if drawn.returns else np.inf
                if hides:
                    screens.append(crossing(own, scene, assets, view, item, drawn.start, end))
                else:
                    item = _outside(item, view, drawn.start, end)
            objects.append(marked(item, "paths", ("hidden",) if drawn.absent else (), **told))
        distractors = []
        for item, own in zip(scene.distractors, streams[K:], strict=True):
            speed = self._drawn(own).speed * self.distractors
            distractors.append(marked(_sent(item, own, view, speed, None), "paths", speed=speed))
        scene = scene.model_copy(update={"objects": tuple(objects), "distractors": tuple(distractors)})
        for screen in screens:
            scene = with_distractor(scene, marked(screen, "paths"))
        return scene

    def _drawn(self, rng: np.random.Generator) -> Draw:
        number = rng.normal()
        rank = NormalDist().cdf(number)
        absent = bool(rng.random() < self._leaving(rank))
        returns, behind = rng.random() < min(1.0, LATE * self.returning), rng.random() < self.behind
        gap = float(np.exp(rng.uniform(*np.log(np.maximum(self.gap, 1e-3)))))
        start = float(rng.uniform(0.2, max(0.2, 0.85 - gap)) if returns else rng.uniform(0.5, 0.85))
        return Draw(self._speed(number), rank, absent, bool(behind), start, gap, bool(returns))

    def _leaving(self, rank: float) -> float:
        """The share of objects of this ``rank`` that leave: most are fast, as slow ones would take too long.

        It is min(1, a rank⁸) with an ``a`` that makes its mean over all ranks what is wanted.
        """
        mean = max(0.0, self.absent - ANYWAY_ABSENT) / (1 - ANYWAY_ABSENT)
        largest = 9 * mean if mean < 1 / 9 else (9 / 8 * max(1e-3, 1 - mean)) ** -8
        return min(1.0, largest * rank**8)

    def _speed(self, number: float) -> float:
        """The mean speed that belongs to a normal ``number``: its logarithm is piecewise linear in it."""
        fast, very_fast = (NormalDist().inv_cdf(1 - FEWER * share) for share in (self.fast, self.very_fast))
        calm_speed = max(SPEEDS[0], np.sqrt(max(0.0, self.median**2 - ANYWAY_MOVED**2)))
        known = np.log([calm_speed, FAST, VERY_FAST])
        calm = min(CALM, 0.9 * fast)
        slope = (known[2] - known[1]) / (very_fast - fast)
        inside = np.interp(number, [calm, fast, very_fast], known)
        return float(np.clip(np.exp(inside + slope * max(number - very_fast, 0)), *SPEEDS))


def _sent(item: ObjectSpec, rng: np.random.Generator, view: View, speed: float, rank: float | None) -> ObjectSpec:
    """The object on a path through the image at ``speed``; with a ``rank`` also at a depth that belongs to it."""
    u = np.linspace(0, 1, view.moments)
    heading = rng.uniform(0, 2 * np.pi) + rng.normal(0, 1.2) * u
    pulse = 1 + rng.uniform(0, 0.7) * np.sin(2 * np.pi * (rng.uniform(*WAVES) * u + rng.random()))
    begin, jitter = rng.uniform(-0.95, 0.95, 2), rng.uniform(-1.5, 1.5)
    if not isinstance(item.motion, CurveMotion):
        return item
    places, radius = view.places(item), view.radius(item)
    steps = pulse[1:] / pulse[1:].mean() * speed / ROWS * view.pace
    way = np.stack([np.cos(heading[1:]), np.sin(heading[1:])], axis=1) * steps[:, None]
    room = np.maximum(view.half - INNER * radius[:, None], 0.3 * view.half).min(axis=0)
    flat = folded(begin * room + np.concatenate([np.zeros((1, 2)), way.cumsum(axis=0)]), room)
    z = places[:, 2]
    if rank is not None:
        mean = DEPTHS[0] + (DEPTHS[1] - DEPTHS[0]) * rank + jitter
        z = np.clip(z / z.mean() * mean, NEAREST, FARTHEST)
    scale = evaluate(item.motion.scale, view.moments) * (z / places[:, 2])[:, None]  # as large in the image
    turns = evaluate(item.motion.rotation, view.moments)
    turns = turns[0] + min(1.0, speed / TURNING) * (turns - turns[0])
    motion = item.motion.model_copy(update={"rotation": fit_spline(turns), "scale": fit_spline(scale)})
    return view.moved(item.model_copy(update={"motion": motion}), np.column_stack([flat, z]))


def _outside(item: ObjectSpec, view: View, start: float, end: float) -> ObjectSpec:
    """The object outside of the image from ``start`` to ``end``, by the nearest border, which it nears beforehand."""
    places, reach = view.places(item), view.reach(item)
    u, frames = np.linspace(0, 1, view.moments), view.scene.render.frames
    leaves = round(start * (view.moments - 1))
    axis = int((view.half - np.abs(places[leaves, :2])).argmin())
    side = 1.0 if places[leaves, axis] >= 0 else -1.0
    way, border = places[:, axis] * side, view.half[axis]
    # The whole path moves toward the border, as far as the object is in view at first: less is left to go.
    beginning = way[: max(1, leaves // 2)].max()
    way = way + max(0.0, min(border - way[leaves], border - 0.25 * reach[leaves] - beginning))
    speed = np.linalg.norm(np.diff(places[:, :2], axis=0), axis=1).mean() / view.pace
    distance = max(border + BEYOND * reach[leaves] - way[leaves], 0.01)
    ramp = float(np.clip(distance / max(1.5 * speed, 1e-4), 2.0, 0.4 * frames)) / (frames - 1)
    out = smooth((u - start + ramp) / ramp) * smooth((end + ramp - u) / ramp)
    places[:, axis] = side * (way + out * np.maximum(border + BEYOND * reach - way, 0.0))
    return view.moved(item, places)
