"""Paths that leave the view, or end behind something that crosses in front, and mostly return."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import each_changed, marked
from blender_scenes.modules.newcomers import crossing, with_distractor
from blender_scenes.modules.view import View, smooth
from blender_scenes.spec import ObjectSpec, SceneSpec
from vosforge.config import Range, Record, Share


class Paths(Record):
    """Objects that are out of sight for some frames: outside of the image, or behind a distractor."""

    absent: Annotated[Share, Field(description="share of objects that are absent in some frame")] = 0.45
    returning: Annotated[Share, Field(description="share of these that return")] = 0.7
    behind: Annotated[Share, Field(description="share of these that hide behind a distractor, if small enough")] = 0.25
    gap: Annotated[Range[Share], Field(description="how long they stay away, as a share of the video")] = (0.06, 0.4)
    hidden_radius: Annotated[Share, Field(description="radius up to which objects hide, in image heights")] = 0.14

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with some of its objects on paths that leave; one may come with a distractor to hide behind."""
        view, screens = View(scene), []

        def leaving(item: ObjectSpec, own: np.random.Generator) -> ObjectSpec:
            absent, returns, behind = own.random(3) < (self.absent, self.returning, self.behind)
            gap = float(np.exp(own.uniform(*np.log(np.maximum(self.gap, 1e-3)))))
            start = float(own.uniform(0.2, 0.85 - gap) if returns else own.uniform(0.35, 0.8))
            of_screen = own.spawn(1)[0]
            if not absent:
                return item
            end = start + gap if returns else 2.0
            behind = bool(behind and view.reach(item).mean() < self.hidden_radius)
            if behind:
                screens.append(crossing(of_screen, scene, assets, view, item, start, end))
            else:
                item = _outside(item, own, view, start, end)
            return marked(
                item, "paths", excuses=("hidden",), start=start, gap=gap, returns=bool(returns), behind=behind
            )

        scene = each_changed(scene, rng, leaving, distractors=False)
        for screen in screens:
            scene = with_distractor(scene, marked(screen, "paths"))
        return scene


def _outside(item: ObjectSpec, rng: np.random.Generator, view: View, start: float, end: float) -> ObjectSpec:
    """The object outside of the image from ``start`` to ``end``; it moves toward the border beforehand."""
    places, reach = view.places(item), view.reach(item)
    u, frames = np.linspace(0, 1, view.moments), view.scene.render.frames
    leaves = int(round(start * (view.moments - 1)))
    exits = view.half - np.abs(places[leaves, :2])
    axis = int(exits.argmin()) if rng.random() < 0.8 else 1 - int(exits.argmin())
    side = 1.0 if places[leaves, axis] >= 0 else -1.0
    way, border, size = places[:, axis] * side, view.half[axis], float(reach[leaves])
    # The whole path moves toward the border, as far as the object stays in view at first: less is left to go.
    beginning = way[: max(1, leaves // 2)].max()
    way = way + max(0.0, min(border - 0.2 * size - way[leaves], border - 0.25 * size - beginning))
    speed = np.linalg.norm(np.diff(places[:, :2], axis=0), axis=1).mean() / view.pace
    distance = max(border + BEYOND * reach.max() - way[leaves], 0.01)
    ramp = float(np.clip(distance / max(1.5 * speed, 1e-4), 2.0, 0.35 * frames)) / (frames - 1)
    out = smooth((u - start + ramp) / ramp) * smooth((end + ramp - u) / ramp)
    places[:, axis] = side * (way + out * np.maximum(border + BEYOND * reach - way, 0.0))
    return view.moved(item, places)


BEYOND = 1.05
"""How far outside of the image a centre goes, in reaches of the object."""
