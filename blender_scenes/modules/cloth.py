"""Cloth: flags, curtains, banners, and sheets that fall on the floor or over something."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

from assets.catalog import Catalog
from blender_scenes.choose import assets_of, pick
from blender_scenes.modules.floor import before_walls, seen_on_floor
from blender_scenes.modules.marks import amounts_of, marked
from blender_scenes.modules.newcomers import MAX_DISTRACTORS, NEAREST, stranger, with_distractor
from blender_scenes.modules.physics import Positive, up
from blender_scenes.modules.view import View
from blender_scenes.object_spec import UNMADE, ClothSpec, Curve, CurveMotion, MadeMesh, ObjectSpec, SimulatedMotion
from blender_scenes.spec import PlaneSpec, SceneSpec
from vosforge.config import Amount, Range, Record, Share

HELD_BY = {"flag": "side", "curtain": "top", "banner": "corners", "sheet": "nothing"}
BOUND = ("lookalikes", "camouflage")
"""Modules by which an object's look depends on something else: such objects are none of cloth."""
BEFORE = 0.8
"""Seconds that a cloth has hung for when the video begins."""
ALONG = 0.7
"""Radians by which the wind turns from along a flag, or from across what hangs, at most."""
TURNED = 0.8
"""Radians by which what hangs turns away from the camera, before the wind, at most."""
FAR = 7.5
"""Metres from the camera beyond which sheets fall only where there is no other place."""
CLEAR = 0.05
"""Metres between what is held and the ground."""
INSIDE = 0.7
"""What hangs keeps its middle in this share of the image's width and height."""
BREEZE = 1.0
"""Metres a second of wind where something falls, at most."""
ASPECTS = {"flag": (0.55, 0.8), "curtain": (0.9, 1.6), "banner": (0.6, 1.6), "sheet": (0.6, 1.0)}
"""Height by width."""
SLOPES = {"flag": (0.2, 0.8), "curtain": (0.6, 1.1), "banner": (0.2, 0.7), "sheet": (0.4, 1.1)}
FOLDS = {"flag": (0.6, 2.0), "curtain": (2.0, 5.0), "banner": (0.5, 0.5), "sheet": (0.5, 2.5)}
"""What they begin in: `ClothSpec.slope` and `ClothSpec.folds`."""
SLACK = 0.15
"""How far folds reach out of a sheet, in its widths."""
REDRAWS = 20


class Placed(NamedTuple):
    """Where a cloth is held or let go."""

    place: np.ndarray
    angles: np.ndarray
    cloth: dict[str, object]
    """Fields of its `ClothSpec`."""
    others: tuple[ObjectSpec, ...]
    """Distractors: what it hangs on or falls over."""


class Cloth(Record):
    """In some scenes one or two objects are cloth: held in the wind, or falling. A worker simulates how they move."""

    share: Annotated[Share, Field(description="share of scenes with cloth")] = 0.25
    two: Annotated[Share, Field(description="share of these with two of cloth, where there are as many objects")] = 0.3
    flag: Annotated[Amount, Field(description="weight of flags, held at one side")] = 1.0
    curtain: Annotated[Amount, Field(description="weight of curtains, held at their upper side")] = 1.0
    banner: Annotated[Amount, Field(description="weight of banners, held at two corners")] = 0.7
    sheet: Annotated[Amount, Field(description="weight of sheets that fall")] = 1.5
    draped: Annotated[Share, Field(description="share of sheets that fall over something, which has no label")] = 0.5
    size: Annotated[Range[Positive], Field(description="longest side in metres")] = (1.1, 2.2)
    depth: Annotated[Range[Positive], Field(description="metres from the camera to what hangs")] = (3.5, 6.5)
    rate: Annotated[Range[Positive], Field(description="frames a second; with physics, those of physics")] = (
        15.0,
        30.0,
    )
    wind: Annotated[Range[Amount], Field(description="metres a second where cloth is held")] = (1.0, 8.0)
    stiffness: Annotated[Range[Positive], Field(description="0.05 is silk, 5 is leather")] = (0.05, 1.5)
    height: Annotated[Range[Amount], Field(description="metres from which sheets fall")] = (0.3, 1.0)
    floor: Annotated[Range[float], Field(description="height of the floor below sheets, if no room has one")] = (
        -1.7,
        -1.0,
    )
    own_look: Annotated[Share, Field(description="share that keep the patterns made with them")] = 0.6

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """``scene`` with an object or two of cloth, or as it was."""
        takes, number = rng.random() < self.share, 1 + int(rng.random() < self.two)
        rate, offset = float(rng.uniform(*self.rate)), float(rng.uniform(*self.floor))
        texture = pick(rng, assets_of(assets, "texture", scene.split)).hash
        streams = rng.spawn(len(scene.objects))
        order = np.argsort([own.random() for own in streams])
        chosen = [k for k in order.tolist() if _free(scene, k)][:number] if takes else []
        weights = np.array([self.flag, self.curtain, self.banner, self.sheet])
        kinds = {k: str(streams[k].choice(list(HELD_BY), p=weights / weights.sum())) for k in chosen}
        if not chosen:
            return scene
        if "sheet" in kinds.values():
            if scene.ground is None:
                ground = PlaneSpec(texture=texture, offset=offset, size=60.0, repeat=12.0)
                scene = scene.model_copy(update={"ground": ground})
            elif scene.backdrop is None and scene.physics is None and not _stood_on(scene):
                scene = scene.model_copy(update={"ground": scene.ground.model_copy(update={"offset": offset})})
        rate = rate if scene.physics is None else scene.physics.rate
        for k, kind in kinds.items():
            scene = self._with(scene, k, kind, rate, streams[k], assets)
        return marked(scene, "cloth", ("hidden",), rate=round(rate, 3))

    def _with(
        self, scene: SceneSpec, k: int, kind: str, rate: float, rng: np.random.Generator, assets: Catalog
    ) -> SceneSpec:
        """``scene`` with its ``k``-th object as cloth of this kind, and with what holds it or lies below it."""
        size, stiffness = float(rng.uniform(*self.size)), float(np.exp(rng.uniform(*np.log(self.stiffness))))
        texture = pick(rng, assets_of(assets, "texture", scene.split)).hash
        recipe = MadeMesh(family="cloth", seed=int(rng.integers(2**53)))
        own_look, draped = rng.random() < self.own_look, rng.random() < self.draped
        draped &= len(scene.distractors) < MAX_DISTRACTORS
        aspect = float(rng.uniform(*ASPECTS[kind]))
        sides = size * np.array([1.0, aspect]) / max(aspect, 1.0)
        if kind == "sheet":
            place, angles, cloth, others = self._falling(rng, scene, k, sides, draped, assets)
        else:
            place, angles, cloth, others = self._hanging(rng, scene, k, sides, kind)
        cloth |= {"seed": int(rng.integers(2**31)), "stiffness": stiffness, "rate": rate, "held": HELD_BY[kind]}
        item = scene.objects[k].model_copy(
            update={
                "mesh": UNMADE,
                "made": recipe,
                "category": kind,
                "material": None,
                "texture": None if own_look else texture,
                "wrap": "unwrap",
                "patch": None,
                "motion": _resting(place, angles, np.sqrt(2) * sides[[0, 0, 1]]),  # of a square with a diagonal of 1
                "deformation": None,
                "joints": (),
                "morphs": (),
                "stands": False,
                "cloth": ClothSpec.model_validate(cloth),
            }
        )
        amounts: dict[str, bool | int | float | str] = {
            "kind": kind,
            "size": round(size, 3),
            "stiffness": round(stiffness, 4),
        }
        if kind == "sheet":
            amounts |= {"draped": bool(others)}
        item = marked(item, "cloth", (), **amounts)
        scene = scene.model_copy(update={"objects": (*scene.objects[:k], item, *scene.objects[k + 1 :])})
        for other in others:
            scene = with_distractor(scene, other)
        return scene

    def _hanging(self, rng: np.random.Generator, scene: SceneSpec, k: int, sides: np.ndarray, kind: str) -> Placed:
        """Where object ``k`` hangs and is seen for as long as possible, facing the camera more or less."""
        width, height = sides
        view, score = View(scene), _score(scene, k)
        found = []
        for _ in range(REDRAWS):
            spot = np.array([*rng.uniform(-0.5, 0.5, 2) * view.half, rng.uniform(*self.depth)])
            place = view.world(np.tile(spot, (view.moments, 1)))[view.moments // 2]
            if scene.ground is not None:
                place[2] = max(place[2], scene.ground.offset + height / 2 + CLEAR)
            found.append((score(place) * before_walls(scene, place, width / 2), place))
        place = max(found, key=lambda each: each[0])[1]
        toward = np.linalg.inv(view.to_camera[view.moments // 2])[:3, 2]
        yaw = np.arctan2(-toward[0], toward[1]) + np.pi * rng.integers(2) + rng.uniform(-TURNED, TURNED)
        angles, turn = np.array([0.0, 0.0, yaw]), Rotation.from_euler("z", yaw)
        blows = rng.uniform(-ALONG, ALONG) + (0.0 if kind == "flag" else np.pi * (rng.integers(2) - 0.5))
        wind = float(rng.uniform(*self.wind)) * turn.apply([np.cos(blows), np.sin(blows), 0.0])
        slope, folds = rng.uniform(*SLOPES[kind]), rng.uniform(*FOLDS[kind])
        cloth = {"wind": wind.tolist(), "gusts": float(rng.uniform(0.5, 1.5)), "before": BEFORE}
        cloth |= {
            "slope": float(slope),
            "folds": float(folds),
            "phase": 0.0 if kind == "banner" else float(rng.random()),
        }
        seed, over, below = int(rng.integers(2**53)), rng.uniform(0.05, 0.2), rng.uniform(0.2, 1.5)
        if kind == "flag":  # a pole that reaches down to the ground
            foot = place[2] - height / 2 - below if scene.ground is None else scene.ground.offset
            head = place[2] + height / 2 + over
            at, along, length = place + turn.apply([-width / 2, 0, 0]), angles, head - foot
            at[2] = (head + foot) / 2
        else:
            at, along, length = place + up(height / 2), np.array([0.0, np.pi / 2, yaw]), width + over
        rod = ObjectSpec(
            mesh=UNMADE,
            made=MadeMesh(family="rod", seed=seed),
            category="rod",
            motion=_resting(at, along, np.full(3, length)),
        )
        return Placed(place, angles, cloth, (rod,))

    def _falling(
        self, rng: np.random.Generator, scene: SceneSpec, k: int, sides: np.ndarray, draped: bool, assets: Catalog
    ) -> Placed:
        """Where object ``k`` is let go as a sheet above the floor, or above something that stands on it."""
        assert scene.ground is not None
        floor, reach, score = scene.ground.offset, float(sides.max()) / 2, _score(scene, k)
        found = []
        for _ in range(REDRAWS):
            place = seen_on_floor(rng, scene, floor)
            found.append((score(place) * before_walls(scene, place, reach), place))
        place = max(found, key=lambda each: each[0])[1]
        thing = stranger(rng, scene, assets)
        high = float(sides.min() * rng.uniform(0.35, 0.6))
        tilt = rng.uniform(-0.25, 0.25) if draped else rng.uniform(-0.45, 0.45) * np.pi
        angles = np.array([tilt - np.pi / 2, 0.0, rng.uniform(0, 2 * np.pi)])
        above = float(rng.uniform(*self.height)) + sides[1] / 2 * abs(np.sin(tilt)) + sides[0] * SLACK
        away = rng.uniform(0, 2 * np.pi)
        wind = float(rng.uniform(0, BREEZE)) * np.array([np.cos(away), np.sin(away), 0.0])
        slope, folds = rng.uniform(*SLOPES["sheet"]), rng.uniform(*FOLDS["sheet"])
        cloth = {"wind": wind.tolist(), "gusts": 1.0, "slope": slope, "folds": folds, "phase": float(rng.random())}
        if not draped:
            return Placed(place + up(above), angles, cloth, ())
        motion = _resting(place + up(high / 2), np.array([0.0, 0.0, rng.uniform(0, 2 * np.pi)]), np.full(3, high))
        below = thing.model_copy(update={"motion": motion, "stands": True})
        return Placed(place + up(high + above), angles, cloth, (below,))


def _free(scene: SceneSpec, k: int) -> bool:
    """Whether object ``k`` may become cloth."""
    item, copied = scene.objects[k], (amounts_of(scene, "lookalikes") or {}).get("original")
    bound = k + 1 == copied or any(trait.module in BOUND for trait in item.traits)
    return not bound and not isinstance(item.motion, SimulatedMotion)


def _stood_on(scene: SceneSpec) -> bool:
    """Whether anything stands on the ground."""
    return any(item.stands for item in (*scene.objects, *scene.distractors))


def _score(scene: SceneSpec, k: int) -> Callable[[np.ndarray], float]:
    """How good a place in the world is for object ``k``: in which share of the video it is seen there.

    What is behind the middle of another object is not seen. Places that are far away are half as good.
    """
    view = View(scene)
    others = [
        item for place, item in enumerate(scene.objects) if place != k and not isinstance(item.motion, SimulatedMotion)
    ]
    before = [(view.places(item), view.radius(item)) for item in others]

    def score(place: np.ndarray) -> float:
        spots = view.seen(np.tile(place, (view.moments, 1)))
        good = (np.abs(spots[:, :2]) < INSIDE * view.half).all(axis=1) & (spots[:, 2] > NEAREST)
        for places, radius in before:
            apart = np.linalg.norm(places[:, :2] - spots[:, :2], axis=1)
            good &= (apart > radius) | (places[:, 2] > spots[:, 2])
        return float(good.mean() * (0.5 if spots[:, 2].mean() > FAR else 1.0))

    return score


def _resting(place: np.ndarray, angles: np.ndarray, scale: np.ndarray) -> CurveMotion:
    """Staying at one place."""
    location, rotation, size = (
        Curve.model_validate({"axes": [[float(value)] for value in values]}) for values in (place, angles, scale)
    )
    return CurveMotion(location=location, rotation=rotation, scale=size)
