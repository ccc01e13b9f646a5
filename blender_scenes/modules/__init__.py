"""Modules: each changes a drawn scene in one way, by its own settings and its own random numbers (docs/modules.md)."""

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from assets.catalog import Catalog
from blender_scenes.modules.camouflage import Camouflage
from blender_scenes.modules.distractors import Distractors
from blender_scenes.modules.lookalikes import Lookalikes
from blender_scenes.modules.occluders import Occluders
from blender_scenes.modules.paths import Paths
from blender_scenes.modules.sizes import Sizes
from blender_scenes.spec import SceneSpec
from vosforge.config import Record
from vosforge.seeding import rng_for


class Modules(Record):
    """The settings of all modules, in the order in which they draw. One that is absent is off."""

    lookalikes: Annotated[Lookalikes | None, Field(description="more of the same model and material")] = None
    distractors: Annotated[Distractors | None, Field(description="things without a label")] = None
    sizes: Annotated[Sizes | None, Field(description="tiny, thin and large objects; scale change")] = None
    paths: Annotated[Paths | None, Field(description="motion in the image; objects that vanish and return")] = None
    camouflage: Annotated[Camouflage | None, Field(description="objects in their background's texture")] = None
    occluders: Annotated[Occluders | None, Field(description="distractors that hide parts of objects")] = None

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


DIVERSE = Modules(
    lookalikes=Lookalikes(),
    distractors=Distractors(),
    sizes=Sizes(),
    paths=Paths(),
    camouflage=Camouflage(),
    occluders=Occluders(),
)
"""Those of the preset ``diverse``."""
