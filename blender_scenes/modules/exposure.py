"""Exposure: a camera whose exposure and white balance drift over the video."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import marked
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import evaluate, fit_spline
from vosforge.config import Amount, Range, Record, Share

KNOTS = (3, 7)
"""Number of points that a drift passes through: from one slow change to several."""


class Exposure(Record):
    """Lets the exposure and the white balance of scenes drift; labels stay."""

    drift: Annotated[Share, Field(description="share of scenes whose exposure drifts")] = 0.055
    stops: Annotated[
        Range[Amount], Field(description="difference between the brightest and the darkest exposure, in stops")
    ] = (0.8, 2.5)
    balance: Annotated[
        Range[Amount], Field(description="how far the ratio of red to blue drifts, in stops, at most and at least")
    ] = (0.0, 0.8)

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with a drifting exposure, or as it was."""
        if rng.random() >= self.drift:
            return scene
        frames = scene.render.frames
        stops, balance = float(rng.uniform(*self.stops)), float(rng.uniform(*self.balance))
        count = int(rng.integers(KNOTS[0], KNOTS[1] + 1))
        brighter, redder = _spread(rng, count, frames) * stops, _spread(rng, count, frames) * balance / 2
        drift = fit_spline(np.stack([brighter + redder, brighter, brighter - redder], axis=1))
        changed = scene.model_copy(update={"drift": drift})
        return marked(changed, "exposure", ("black", "burnt"), stops=stops, balance=balance)


def _spread(rng: np.random.Generator, count: int, frames: int) -> np.ndarray:
    """Knots ``[count]`` of a random spline that spans exactly 1 over the frames, half of it below 0."""
    knots = np.cumsum(rng.normal(size=count))
    seen = evaluate(fit_spline(np.stack([knots] * 3, axis=1)), frames)[:, 0]
    return np.asarray((knots - (seen.min() + seen.max()) / 2) / np.ptp(seen))
