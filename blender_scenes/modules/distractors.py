"""Distractors: things that move among the objects and carry no label."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import marked
from blender_scenes.modules.newcomers import stranger, with_distractor
from blender_scenes.spec import SceneSpec
from vosforge.config import Record, Share


class Distractors(Record):
    """Distractors of any model; their number falls off evenly from none on."""

    share: Annotated[Share, Field(description="share of scenes that have any")] = 0.7
    mean: Annotated[float, Field(ge=1, description="mean number where there are any")] = 3.0

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with distractors, up to 20 with those of other modules."""
        if rng.random() >= self.share:
            return scene
        number = int(rng.geometric(1 / self.mean))
        for own in rng.spawn(number):
            scene = with_distractor(scene, marked(stranger(own, scene, assets), "distractors"))
        return marked(scene, "distractors", number=number)
