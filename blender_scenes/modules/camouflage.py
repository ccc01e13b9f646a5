"""Camouflage: objects that wear the texture of what they move in front of."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import each_changed, marked
from blender_scenes.spec import ObjectSpec, SceneSpec
from vosforge.config import Record, Share


class Camouflage(Record):
    """Some objects wear the texture of the backdrop or of the ground. Scenes without either have none."""

    share: Annotated[Share, Field(description="share of objects, in scenes that have a backdrop or a ground")] = 0.08

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with some of its objects in another texture."""
        plane = scene.backdrop or scene.ground

        def worn(item: ObjectSpec, own: np.random.Generator) -> ObjectSpec:
            if plane is None or own.random() >= self.share:
                return item
            changes = {"texture": plane.texture, "material": None, "wrap": "box"}
            return marked(item.model_copy(update=changes), "camouflage")

        return each_changed(scene, rng, worn, distractors=False)
