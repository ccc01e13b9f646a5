"""Modules: each changes a drawn scene in one way, by its own settings and its own random numbers (docs/modules.md)."""

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from assets.catalog import Catalog
from blender_scenes.modules.articulation import Articulated
from blender_scenes.modules.blur import Blur
from blender_scenes.modules.camera import Camera
from blender_scenes.modules.camouflage import Camouflage
from blender_scenes.modules.cloth import Cloth
from blender_scenes.modules.contact import Contact
from blender_scenes.modules.cuts import Cuts
from blender_scenes.modules.deformation import Deforming
from blender_scenes.modules.distractors import Distractors
from blender_scenes.modules.exposure import Exposure
from blender_scenes.modules.light import Light
from blender_scenes.modules.lookalikes import Lookalikes
from blender_scenes.modules.mirrors import Mirrors
from blender_scenes.modules.occluders import Occluders
from blender_scenes.modules.paths import Paths
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.rain import Rain
from blender_scenes.modules.rooms import Rooms
from blender_scenes.modules.shake import Shake
from blender_scenes.modules.shapes import Shapes
from blender_scenes.modules.sizes import Sizes
from blender_scenes.modules.weather import Weather
from blender_scenes.spec import SceneSpec
from vosforge.config import Record
from vosforge.seeding import rng_for


class Modules(Record):
    """The settings of all modules, in the order in which they draw. One that is absent is off."""

    light: Annotated[Light | None, Field(description="sun, panels, coloured light, night")] = None
    weather: Annotated[Weather | None, Field(description="fog")] = None
    exposure: Annotated[Exposure | None, Field(description="drift of exposure and white balance")] = None
    rooms: Annotated[Rooms | None, Field(description="floors, walls and photo backdrops")] = None
    camera: Annotated[Camera | None, Field(description="pans and pushes")] = None
    shapes: Annotated[Shapes | None, Field(description="shapes made for the scene")] = None
    articulation: Annotated[Articulated | None, Field(description="things with joints")] = None
    deformation: Annotated[Deforming | None, Field(description="objects that bend, twist and wave")] = None
    lookalikes: Annotated[Lookalikes | None, Field(description="more of the same model and material")] = None
    distractors: Annotated[Distractors | None, Field(description="things without a label")] = None
    sizes: Annotated[Sizes | None, Field(description="tiny, thin and large objects; scale change")] = None
    paths: Annotated[Paths | None, Field(description="motion in the image; objects that vanish and return")] = None
    camouflage: Annotated[Camouflage | None, Field(description="objects in their background's texture")] = None
    occluders: Annotated[Occluders | None, Field(description="distractors that hide parts of objects")] = None
    contact: Annotated[Contact | None, Field(description="objects that stand on the ground")] = None
    physics: Annotated[Physics | None, Field(description="objects that fall, collide and roll")] = None
    cloth: Annotated[Cloth | None, Field(description="flags, curtains, banners and sheets that fall")] = None
    cuts: Annotated[Cuts | None, Field(description="cuts to another camera")] = None
    mirrors: Annotated[Mirrors | None, Field(description="mirrors in which objects are seen twice")] = None
    shake: Annotated[Shake | None, Field(description="a camera held by hand")] = None
    blur: Annotated[Blur | None, Field(description="motion blur")] = None
    rain: Annotated[Rain | None, Field(description="rain")] = None

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
    light=Light(),
    weather=Weather(),
    exposure=Exposure(),
    rooms=Rooms(ordinary=0.8),
    camera=Camera(),
    shapes=Shapes(carved=1.0),
    articulation=Articulated(),
    deformation=Deforming(),
    lookalikes=Lookalikes(),
    distractors=Distractors(),
    sizes=Sizes(),
    paths=Paths(),
    camouflage=Camouflage(),
    occluders=Occluders(),
    contact=Contact(),
    physics=Physics(),
    shake=Shake(),
    blur=Blur(),
)
"""Those of the preset ``diverse``."""
