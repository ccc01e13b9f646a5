"""Modules: each changes a drawn scene in one way, by its own settings and its own random numbers (docs/modules.md)."""

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from assets.catalog import Catalog
from blender_scenes.modules.articulation import Articulated
from blender_scenes.modules.deformation import Deforming
from blender_scenes.spec import SceneSpec
from vosforge.config import Record
from vosforge.seeding import rng_for


class Modules(Record):
    """The settings of all modules, in the order in which they draw. One that is absent is off."""

    articulation: Articulated | None = None
    deformation: Deforming | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Modules that are added later leave stored settings as they are."""
        values: dict[str, Any] = serialize(self)
        return {name: value for name, value in values.items() if value is not None}


def apply_modules(modules: Modules, scene: SceneSpec, assets: Catalog) -> SceneSpec:
    """``scene`` changed by each module that is on. ``assets``: those of the scene's split.

    Each draws from its own stream, which depends on the scene's seed, index and attempt and the module's name only.
    """
    for name, module in modules:
        if module is not None:
            rng = rng_for(scene.seed, "module", name, scene.index, scene.attempt)
            scene = module.draw(scene, rng, assets)
    return scene


DIVERSE = Modules(articulation=Articulated(), deformation=Deforming())
"""Those of the preset ``diverse``."""
