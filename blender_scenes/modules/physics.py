"""Physics: objects that fall, collide, bounce, slide and roll on a floor."""

from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from assets.catalog import Catalog
from assets.interiors import FLOORS
from blender_scenes.choose import assets_of, pick
from blender_scenes.modules.floor import REACH, REDRAWS, before_walls, scale_of, seen_on_floor
from blender_scenes.modules.marks import marked
from blender_scenes.modules.piles import Pile
from blender_scenes.modules.toss import Toss
from blender_scenes.object_spec import ObjectSpec, PhysicsSpec, SimulatedMotion
from blender_scenes.spec import PlaneSpec, SceneSpec
from vosforge.config import Amount, Range, Record, Share

KINDS = ("drop", "throw", "roll")
Positive = Annotated[float, Field(gt=0)]


def up(height: float) -> np.ndarray:
    """So far up."""
    return np.array([0.0, 0.0, height])


def heading(rng: np.random.Generator) -> np.ndarray:
    """A direction along the floor, mostly across the view."""
    angle = rng.choice([0.0, np.pi]) + rng.normal(0, 0.5)
    return np.array([np.cos(angle), np.sin(angle), 0.0])


def flight(kind: str, height: float, physics: PhysicsSpec) -> float:
    """Seconds from when an object is let go until it comes by its place on the floor."""
    return float(np.sqrt(2 * height / physics.gravity)) if kind == "throw" else 0.4


class Start(NamedTuple):
    """A ball around an object when it is let go."""

    middle: np.ndarray
    reach: float


class Physics(Record):
    """In some scenes objects drop, are thrown or roll, on a floor; a worker simulates how they go on."""

    share: Annotated[Share, Field(description="share of scenes with physics")] = 0.12
    objects: Annotated[Share, Field(description="share of their objects that take part")] = 0.9
    drop: Annotated[Amount, Field(description="weight of objects that drop")] = 1.0
    throw: Annotated[Amount, Field(description="weight of objects that are thrown")] = 1.0
    roll: Annotated[Amount, Field(description="weight of objects that roll or slide")] = 1.0
    seconds: Annotated[Range[Positive], Field(description="how long a video is in the world it shows")] = (0.6, 1.4)
    floor: Annotated[Range[float], Field(description="height of the floor where no room has one")] = (-1.7, -1.0)
    height: Annotated[Range[Amount], Field(description="metres from which objects fall")] = (0.8, 3.0)
    speed: Annotated[Range[Amount], Field(description="metres a second of thrown and rolling objects")] = (1.0, 4.0)
    spin: Annotated[Amount, Field(description="spread of their spin about each axis, in radians a second")] = 2.0
    friction: Annotated[Range[Amount], Field(description="friction of objects and floor")] = (0.2, 0.9)
    bounce: Annotated[Range[Share], Field(description="bounce of objects and floor")] = (0.2, 0.8)
    toss: Annotated[
        Toss | None,
        Field(
            exclude_if=lambda toss: toss is None, description="all objects are tossed or lie, and none goes otherwise"
        ),
    ] = None
    pile: Annotated[
        Pile | None,
        Field(
            exclude_if=lambda pile: pile is None,
            description="all objects lie in a pile or fall onto it, and none goes otherwise",
        ),
    ] = None

    @model_validator(mode="after")
    def _tossed_or_piled(self) -> Self:
        if self.toss is not None and self.pile is not None:
            raise ValueError("objects are tossed or piled, not both: leave out 'toss' or 'pile'")
        return self

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """``scene``, or the same objects let go above a floor."""
        if rng.random() >= self.share:
            return scene
        seconds, friction, bounce = (float(rng.uniform(*ends)) for ends in (self.seconds, self.friction, self.bounce))
        ground = scene.ground
        textures = assets_of(assets, "texture", scene.split)
        texture, offset = pick(rng, textures, FLOORS).hash, float(rng.uniform(*self.floor))
        if ground is None:
            ground = PlaneSpec(texture=texture, offset=offset, size=60.0, repeat=12.0)
        elif scene.backdrop is None:  # in a room, things fall on the room's floor
            ground = ground.model_copy(update={"offset": offset})
        rate = (scene.render.frames - 1) / seconds
        physics = PhysicsSpec(floor=ground.offset, rate=rate, friction=friction, bounce=bounce)
        items: list[ObjectSpec] = []
        distractors, starts = list(scene.distractors), list[Start]()
        if self.toss is not None:
            items += self.toss.objects(scene, rng, physics, self.friction, self.bounce)
        elif self.pile is not None:
            items, distractors, physics = self.pile.changes(scene, rng, physics, self.friction)
        else:
            for item, own in zip(scene.objects, rng.spawn(len(scene.objects)), strict=True):
                items.append(self._object(item, own, scene, physics, starts))
        if all(item.motion.kind != "simulated" for item in items):
            return scene
        moved = {"objects": tuple(items), "distractors": tuple(distractors)}
        scene = scene.model_copy(update=moved | {"ground": ground, "physics": physics})
        amounts = {"seconds": round(seconds, 3), "friction": round(friction, 3), "bounce": round(bounce, 3)}
        return marked(scene, "physics", ("hidden",), **amounts)

    def _object(
        self, item: ObjectSpec, rng: np.random.Generator, scene: SceneSpec, physics: PhysicsSpec, starts: list[Start]
    ) -> ObjectSpec:
        """``item`` let go clear of ``starts``, to which it is added."""
        if rng.random() >= self.objects:
            return item
        weights = np.array([self.drop, self.throw, self.roll])
        kind = KINDS[int(rng.choice(len(KINDS), p=weights / weights.sum()))]
        height = 0.0 if kind == "roll" else float(rng.uniform(*self.height))
        velocity = np.zeros(3) if kind == "drop" else float(rng.uniform(*self.speed)) * heading(rng)
        before = up(height) - flight(kind, height, physics) * velocity
        scale = scale_of(item)
        places = rng.spawn(1)[0]  # how many are drawn depends on the scene
        for _ in range(REDRAWS):
            start = seen_on_floor(places, scene, physics.floor) + before
            own = Start(start + up(REACH * scale.max()), REACH * float(scale.max()))
            clear = all(np.linalg.norm(own.middle - other.middle) > own.reach + other.reach for other in starts)
            if clear and before_walls(scene, start, own.reach):
                break
        starts.append(own)
        motion = SimulatedMotion.model_validate(
            {
                "location": start.tolist(),
                "rotation": rng.uniform(0, 2 * np.pi, 3).tolist(),
                "scale": scale.tolist(),
                "velocity": velocity.tolist(),
                "spin": rng.normal(0, self.spin, 3).tolist(),
                "mass": float(np.prod(scale)),
                "friction": float(rng.uniform(*self.friction)),
                "bounce": float(rng.uniform(*self.bounce)),
            }
        )
        amounts = {"height": round(height, 3), "speed": round(float(np.linalg.norm(velocity)), 3)}
        return marked(item.model_copy(update={"motion": motion, "stands": False}), "physics", (), kind=kind, **amounts)
