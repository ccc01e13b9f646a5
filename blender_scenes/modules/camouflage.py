"""Camouflage: objects that wear the texture of what they move in front of."""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import each_changed, marked
from blender_scenes.modules.view import View
from blender_scenes.object_spec import ObjectSpec, Patch
from blender_scenes.spec import PlaneSpec, SceneSpec
from vosforge.config import Record, Share

SIDE = 0.6
"""About how long a side of an object's box is, in its scale."""
BEHIND = (1.0, 6.0)
"""Range of how many times farther away the background is than the object."""


class Camouflage(Record):
    """Some objects wear the part of the backdrop or of the ground that they hide halfway through the video.

    Scenes without either have none.
    """

    share: Annotated[Share, Field(description="share of objects, in scenes that have a backdrop or a ground")] = 0.08

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene with some of its objects in another texture."""
        plane, view = scene.backdrop or scene.ground, View(scene)

        def worn(item: ObjectSpec, own: np.random.Generator) -> ObjectSpec:
            if plane is None or own.random() >= self.share:
                return item
            changes = {"texture": plane.texture, "material": None, "wrap": "box", "patch": hidden(plane, item, view)}
            return marked(item.model_copy(update=changes), "camouflage")

        return each_changed(scene, rng, worn, distractors=False)


def hidden(plane: PlaneSpec, item: ObjectSpec, view: View) -> Patch | None:
    """The part of the image on the scene's backdrop, or else its ground, that the object hides halfway; None: all."""
    middle, facing = view.moments // 2, 1 if view.scene.backdrop is not None else 2
    camera = np.linalg.inv(view.to_camera[middle])[:3, 3]
    ray = view.world(view.places(item))[middle] - camera
    least, most = BEHIND
    farther = (plane.offset - camera[facing]) / ray[facing] if ray[facing] else most
    farther = float(np.clip(farther, least, most)) if farther > 0 else most
    scale = plane.repeat / plane.size
    side = float(SIDE * view.scales(item)[middle].mean() * farther * scale)
    if side >= 1:
        return None
    places = np.delete(camera + farther * ray, facing) * scale + plane.repeat / 2
    places = 1 - np.abs(1 - places % 2)  # every second copy of the image is mirrored
    left, bottom = np.clip(places - side / 2, 0, 1 - side).tolist()
    return Patch(left=left, bottom=bottom, side=side)
