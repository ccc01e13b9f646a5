"""Weather: fog that hides what is far away. Labels are those of clear air."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import amounts_of, marked
from blender_scenes.spec import AtmosphereSpec, SceneSpec
from vosforge.config import Amount, Range, Record, Share

AT_NIGHT = 0.06
"""What is left of the fog's brightness at night."""


class Weather(Record):
    """Puts fog into scenes. It is a light grey, warm or cold."""

    fog: Annotated[Share, Field(description="share of scenes in fog")] = 0.055
    visibility: Annotated[
        Range[Amount], Field(description="metres at which things keep 5 % of their contrast; objects are 3 to 12 away")
    ] = (15.0, 70.0)
    brightness: Annotated[Range[Share], Field(description="brightness of dense fog by day, where white is 1")] = (
        0.3,
        0.75,
    )

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene in fog, or as it was."""
        if rng.random() >= self.fog:
            return scene
        visibility = float(np.exp(rng.uniform(*np.log(np.maximum(self.visibility, 1e-3)))))
        brightness, warmth = float(rng.uniform(*self.brightness)), float(rng.normal(0, 0.06))
        night = (amounts_of(scene, "light") or {}).get("kind") == "night"
        red, green, blue = brightness * (AT_NIGHT if night else 1.0) * np.array([1 + warmth, 1.0, 1 - warmth])
        color = (min(float(red), 1.0), float(green), min(float(blue), 1.0))
        fog = AtmosphereSpec(density=float(-np.log(0.05) / visibility), color=color)
        foggy = scene.model_copy(update={"atmosphere": fog})
        return marked(foggy, "weather", ("flat",), visibility=visibility, brightness=brightness)
