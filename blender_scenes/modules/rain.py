"""Rain: streaks of falling drops before and between things, drawn when time and shutter are known.

Labels are those without rain.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import marked
from blender_scenes.spec import RainSpec, SceneSpec
from vosforge.config import Amount, Range, Record, Share

RATE = 24.0
"""Frames a second of scenes without physics or cloth to say so."""
EXPOSURE = 1 / 60
"""Seconds: how long a camera's shutter is open where nothing in the scene is blurred by it."""


class Rain(Record):
    """Lets it rain in scenes, from light rain to a cloudburst, with wind from anywhere."""

    share: Annotated[Share, Field(description="share of scenes in which it rains")] = 0.3
    intensity: Annotated[
        Range[Annotated[float, Field(gt=0)]], Field(description="millimetres an hour: 10 is moderate, 50 heavy rain")
    ] = (15.0, 80.0)
    wind: Annotated[Amount, Field(description="maximum wind, in metres a second")] = 4.0
    brightness: Annotated[
        Range[Amount], Field(description="brightness of drops over that of the frame around them")
    ] = (8.0, 24.0)

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene in rain, or as it was."""
        if rng.random() >= self.share:
            return scene
        ranges = np.log(self.intensity), np.log(np.maximum(self.brightness, 1e-3))
        intensity, brightness = (float(np.exp(rng.uniform(*ends))) for ends in ranges)
        wind, angle = float(rng.uniform(0, self.wind)), float(rng.uniform(0, 2 * np.pi))
        hung = (item.cloth.rate for item in scene.objects if item.cloth)
        rate = scene.physics.rate if scene.physics else next(hung, RATE)
        rain = RainSpec(
            intensity=intensity,
            wind=(wind * np.cos(angle), wind * np.sin(angle)),
            brightness=brightness,
            exposure=max(EXPOSURE, scene.camera.shutter / rate),
            rate=rate,
        )
        amounts = {"intensity": round(intensity, 2), "wind": round(wind, 2), "brightness": round(brightness, 2)}
        return marked(scene.model_copy(update={"rain": rain}), "rain", (), **amounts)
