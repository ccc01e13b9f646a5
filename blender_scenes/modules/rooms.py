"""Rooms: a floor, a back wall and side walls around the objects, lit through the open top, or wearing photos."""

from typing import Annotated, TypeVar

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from assets.interiors import FLOORS, WALLS
from assets.textures import SCENIC
from blender_scenes.choose import assets_of, pick
from blender_scenes.modules.marks import marked
from blender_scenes.modules.view import View
from blender_scenes.object_spec import Vector
from blender_scenes.spec import LightSpec, LookAtMotion, PanelSpec, PlaneSpec, SceneSpec
from blender_scenes.trajectories import evaluate, fit_spline
from vosforge.config import Amount, Range, Record, Share

DEPTH = 40.0
"""Metres that side walls are long; they are open far behind the camera."""
HEIGHT = 12.0
"""Metres that walls are high, half of it above the camera's usual height: most of the sky still lights the room."""
BEHIND = -7.0
"""Lamps stand farther back than this, behind the camera."""
BRIGHTEST = 1.0
"""Brightness of white paper at the origin that lamps together give at most: more would burn walls and floors."""


class Rooms(Record):
    """Puts scenes into rooms, above whose floor the camera is raised to look down at it."""

    share: Annotated[Share, Field(description="share of scenes in a room")] = 0.4
    photos: Annotated[Share, Field(description="share of rooms whose walls are photos that shine by themselves")] = 0.3
    ordinary: Annotated[
        Share, Field(description="share of rooms with floors and walls as one lives with, where the catalog has such")
    ] = 0.0
    floor: Annotated[Range[float], Field(description="height of the floor in metres")] = (-2.6, -1.4)
    side: Annotated[Range[Amount], Field(description="metres from the middle to a side wall")] = (3.0, 7.0)
    back: Annotated[Range[Amount], Field(description="metres from the origin to the back wall")] = (6.5, 12.0)
    raised: Annotated[Range[Amount], Field(description="metres by which the camera is raised")] = (0.6, 2.6)
    walls: Annotated[Range[int], Field(description="number of side walls")] = (0, 2)
    tile: Annotated[Range[Amount], Field(description="metres that an image of a floor or a wall is wide")] = (1.5, 8.0)
    emission: Annotated[Range[Amount], Field(description="brightness of photos")] = (0.25, 0.9)

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene in a room, or as it was."""
        motion = scene.camera.motion
        if rng.random() >= self.share or not isinstance(motion, LookAtMotion):
            return scene
        photos = bool(rng.random() < self.photos)
        textures, floors, coverings = assets_of(assets, "texture", scene.split), set[str](), set[str]()
        if rng.spawn(1)[0].random() < self.ordinary:
            floors, coverings = set(FLOORS), set(SCENIC if photos else WALLS)
        floor, back = float(rng.uniform(*self.floor)), float(rng.uniform(*self.back))
        left, right, raised = (float(rng.uniform(*ends)) for ends in (self.side, self.side, self.raised))
        count = int(rng.integers(self.walls[0], self.walls[1] + 1))
        emission = float(rng.uniform(*self.emission)) if photos else 0.0
        dimmed = _night_level(scene)

        def plane(offset: float, upright: bool, texture: str) -> PlaneSpec:
            tile = float(rng.uniform(*self.tile)) if not (photos and upright) else HEIGHT
            height, shine = (HEIGHT, emission * dimmed) if upright else (None, 0.0)
            return PlaneSpec(
                texture=texture, offset=offset, size=DEPTH, repeat=DEPTH / tile, emission=shine, height=height
            )

        texture = pick(rng, textures, coverings).hash
        ground = plane(floor, False, pick(rng, textures, floors).hash)
        backdrop = plane(back, True, texture)
        sides = [-left, right] if rng.random() < 0.5 else [right, -left]
        same = rng.random() < 0.7
        walls = tuple(plane(x, True, texture if same else pick(rng, textures, coverings).hash) for x in sides[:count])
        inside = {
            "ground": ground,
            "backdrop": backdrop,
            "walls": walls,
            "lights": _not_too_bright([_lamp_inside(light, walls) for light in scene.lights]),
            "panels": tuple(_lamp_inside(panel, walls) for panel in scene.panels),
            "camera": scene.camera.model_copy(update={"motion": _raised(scene, motion, raised)}),
        }
        changed = scene.model_copy(update=inside)
        return marked(changed, "rooms", photos=photos, walls=count, floor=floor, back=back, raised=raised)


def _night_level(scene: SceneSpec) -> float:
    """By how much the light of a night dims what shines by itself."""
    levels = (trait.amounts.get("level", 1.0) for trait in scene.traits if trait.module == "light")
    return float(next(levels, 1.0))


def _raised(scene: SceneSpec, motion: LookAtMotion, by: float) -> LookAtMotion:
    """The camera's motion so much higher, its target half as much lower."""
    moments = View(scene).moments
    up = np.array([0.0, 0.0, by])
    location, target = evaluate(motion.location, moments) + up, evaluate(motion.look_at, moments) - up / 2
    return LookAtMotion(location=fit_spline(location), look_at=fit_spline(target))


Lamp = TypeVar("Lamp", LightSpec, PanelSpec)


def _not_too_bright(lamps: list[LightSpec]) -> tuple[LightSpec, ...]:
    """The lamps, all dimmed by the same factor where they are brighter than `BRIGHTEST` together."""
    total = sum(lamp.energy / (4 * np.pi**2 * np.square(lamp.location).sum()) for lamp in lamps)
    factor = min(1.0, BRIGHTEST / max(float(total), 1e-6))
    return tuple(lamp.model_copy(update={"energy": lamp.energy * factor}) for lamp in lamps)


def _lamp_inside(lamp: Lamp, walls: tuple[PlaneSpec, ...]) -> Lamp:
    """A lamp between the walls, behind the camera if it can be seen, as bright at the origin as it was."""
    x, y, z = lamp.location
    low = max((wall.offset for wall in walls if wall.offset < 0), default=-np.inf)
    high = min((wall.offset for wall in walls if wall.offset > 0), default=np.inf)
    place: Vector = (
        float(np.clip(x, low + 1, high - 1)),
        min(y, BEHIND) if isinstance(lamp, LightSpec) else y,
        float(np.clip(z, 0.5, HEIGHT / 2)),
    )
    nearer = float(np.square(place).sum() / np.square(lamp.location).sum())
    return lamp.model_copy(update={"location": place, "energy": lamp.energy * nearer})
