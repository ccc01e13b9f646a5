"""Shapes without end: objects that no catalog has, each made once, for its scene."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import each_changed, marked
from blender_scenes.object_spec import UNMADE, MadeMesh, ObjectSpec
from blender_scenes.spec import SceneSpec
from vosforge.config import Amount, Record, Share

FAMILIES: dict[str, tuple[str, ...]] = {
    "compound": ("compound",),
    "landscape": ("landscape",),
    "carved": ("carved",),
    "named": (
        "superquadric", "ring", "prism", "gear", "knot", "coil", "shell", "rock", "cluster", "totem", "spindle",
        "vessel", "table", "chair", "shelf", "lamp", "mushroom", "plant", "vehicle", "aircraft", "robot",
    ),
}  # fmt: skip
"""The families of each kind: keys of `assets.procedural.ENDLESS` and of `assets.shapes.FAMILIES`."""


class Shapes(Record):
    """Some objects are replaced by shapes made for the scene, in materials and images of their own."""

    share: Annotated[Share, Field(description="share of objects that are made for their scene")] = 0.3
    compound: Annotated[Amount, Field(description="weight of primitives, deformed and joined")] = 3.0
    landscape: Annotated[Amount, Field(description="weight of height fields")] = 0.5
    carved: Annotated[Amount, Field(description="weight of solids from which others are cut")] = 0.0
    """In ``diverse`` 1: settings stored before there were any draw as they did."""
    named: Annotated[Amount, Field(description="weight of what catalogs have, too: vessels, gears, robots")] = 1.5
    own_look: Annotated[Share, Field(description="share of these that keep their own materials and images")] = 0.7

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with some of its objects in shapes that were never seen."""
        weights = {kind: getattr(self, kind) for kind in FAMILIES}
        shares = np.array(list(weights.values())) / sum(weights.values())

        def made(item: ObjectSpec, own: np.random.Generator) -> ObjectSpec:
            if own.random() >= self.share:
                return item
            kind = str(own.choice(list(weights), p=shares))
            family = str(own.choice(FAMILIES[kind]))
            recipe = MadeMesh(family=family, seed=int(own.integers(2**53)))
            changes: dict[str, object] = {"mesh": UNMADE, "made": recipe, "category": family, "material": None}
            if own.random() < self.own_look:
                changes["texture"] = None
            return marked(item.model_copy(update=changes), "shapes", (), family=family)

        return each_changed(scene, rng, made, distractors=False)
