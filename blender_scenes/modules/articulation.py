"""Objects with joints: figures and beasts that walk, snakes that wind, chains that swing, hinged things that open.

Models of the catalog that have bones move in these.
"""

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from assets.catalog import Catalog
from blender_scenes.modules.marks import each_changed, marked
from blender_scenes.object_spec import (
    UNMADE,
    Curve,
    CurveMotion,
    JointMotion,
    MadeMesh,
    ObjectSpec,
    Spline,
    Swing,
    Trajectory,
    Vector,
)
from blender_scenes.spec import SceneSpec
from vosforge.config import Amount, Range, Record, Share

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


class Turn(NamedTuple):
    """How a joint swings in a gait: its axis, its angles (radians) and when in the cycle (in turns)."""

    joint: int
    axis: Vector
    size: float
    phase: float = 0.0
    mean: float = 0.0
    often: float = 1.0
    """How many swings there are in a cycle."""


# The joints are those of `assets.shapes.jointed`. Turning about y takes what hangs down backward.
WALK = {
    "figure": (
        Turn(0, X, 0.08), Turn(1, Z, 0.22, 0.5), Turn(2, Y, 0.1, 0.2, often=2.0),
        Turn(3, Y, 0.7), Turn(4, Y, 0.35, 0.0, -0.5), Turn(5, Y, 0.7, 0.5), Turn(6, Y, 0.35, 0.5, -0.5),
        Turn(7, Y, 0.6, 0.5), Turn(8, Y, 0.5, 0.75, 0.55), Turn(9, Y, 0.6), Turn(10, Y, 0.5, 0.25, 0.55),
    ),
    "beast": (
        Turn(0, Y, 0.06, often=2.0), Turn(1, Y, 0.2, 0.3), Turn(2, Y, 0.2, 0.6), Turn(3, Z, 0.6),
        Turn(4, Y, 0.5), Turn(5, Y, 0.3, 0.25, 0.3), Turn(6, Y, 0.5, 0.5), Turn(7, Y, 0.3, 0.75, 0.3),
        Turn(8, Y, 0.5, 0.5), Turn(9, Y, 0.3, 0.75, 0.3), Turn(10, Y, 0.5), Turn(11, Y, 0.3, 0.25, 0.3),
    ),
}  # fmt: skip
UPRIGHT = tuple(WALK)
VERTEBRAE, LINKS, LEAVES = 9, 7, 2


class Articulated(Record):
    """Labelled objects are replaced by things with joints, made for the scene; models that have joints swing theirs."""

    share: Annotated[Share, Field(description="share of labelled objects that are articulated")] = 0.125
    figure: Annotated[Amount, Field(description="weight of figures that walk on two legs")] = 3.0
    beast: Annotated[Amount, Field(description="weight of figures that walk on four")] = 2.0
    snake: Annotated[Amount, Field(description="weight of snakes and ribbons")] = 1.5
    chain: Annotated[Amount, Field(description="weight of chains")] = 1.5
    hinged: Annotated[Amount, Field(description="weight of hinged things")] = 2.0
    armatures: Annotated[Share, Field(description="share of the other objects with bones that move in them")] = 0.5
    reach: Annotated[Range[Amount], Field(description="how far joints swing, 1: as in a walk")] = (0.7, 1.4)
    period: Annotated[Range[Annotated[float, Field(gt=0)]], Field(description="frames of a cycle")] = (12.0, 48.0)

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """``scene`` with some of its objects articulated."""
        frames = scene.render.frames
        return each_changed(scene, rng, lambda item, own: self._object(item, own, frames, assets), distractors=False)

    def _object(self, item: ObjectSpec, rng: np.random.Generator, frames: int, assets: Catalog) -> ObjectSpec:
        if rng.random() >= self.share:
            parents = () if item.made else assets.by_hash(item.mesh).joints
            return item if not parents or rng.random() >= self.armatures else self._own(item, parents, rng, frames)
        weights = {name: getattr(self, name) for name in ("figure", "beast", "snake", "chain", "hinged")}
        shares = np.array(list(weights.values())) / sum(weights.values())
        family, seed = str(rng.choice(list(weights), p=shares)), int(rng.integers(2**53))
        reach, period = self._pace(rng)
        turns = GAITS.get(family, lambda _: WALK[family])(rng)
        joints = swings(turns, reach, (frames - 1) / period, float(rng.random()))
        changes: dict[str, object] = {"mesh": UNMADE, "made": MadeMesh(family=family, seed=seed), "category": family}
        changes |= {"joints": joints, "material": None}
        if family in UPRIGHT and isinstance(item.motion, CurveMotion):
            changes["motion"] = item.motion.model_copy(update={"rotation": upright(item.motion.rotation)})
        amounts = {"reach": round(reach, 4), "period": round(period, 2)}
        return marked(item.model_copy(update=changes), "articulation", (), family=family, **amounts)

    def _own(self, item: ObjectSpec, parents: tuple[int, ...], rng: np.random.Generator, frames: int) -> ObjectSpec:
        """The object with its own joints swinging."""
        reach, period = self._pace(rng)
        joints = swings(swaying(parents, rng), reach, (frames - 1) / period, float(rng.random()))
        amounts = {"reach": round(reach, 4), "period": round(period, 2)}
        return marked(item.model_copy(update={"joints": joints}), "articulation", (), family="armature", **amounts)

    def _pace(self, rng: np.random.Generator) -> tuple[float, float]:
        """How far and how slowly the joints of an object swing: drawn from ``reach`` and ``period``."""
        return float(rng.uniform(*self.reach)), float(np.exp(rng.uniform(*np.log(self.period))))


def swings(turns: tuple[Turn, ...], reach: float, cycles: float, start: float) -> tuple[JointMotion, ...]:
    """The joints' motion in a video of this many ``cycles`` of a gait, which begins at ``start`` in one."""
    return tuple(
        JointMotion(
            joint=turn.joint,
            axis=turn.axis,
            angle=Swing(
                mean=turn.mean,
                size=reach * turn.size,
                turns=cycles * turn.often,
                phase=start * turn.often + turn.phase,
            ),
        )
        for turn in turns
    )


def upright(rotation: Trajectory) -> Trajectory:
    """The turn about z alone."""
    if isinstance(rotation, Spline):
        return Spline(knots=tuple((0.0, 0.0, z) for _, _, z in rotation.knots))
    return Curve(axes=((0.0,), (0.0,), rotation.axes[2]))


def winding(rng: np.random.Generator) -> tuple[Turn, ...]:
    """A wave that runs along a body, sideways or up and down, perhaps curled up."""
    axis = Z if rng.random() < 0.7 else Y
    waves, curl = float(rng.uniform(0.6, 1.6)), float(rng.uniform(-0.25, 0.25))
    ahead = float(rng.choice([-1.0, 1.0])) * waves / VERTEBRAE
    size = float(rng.uniform(0.3, 0.5))
    return tuple(Turn(joint, axis, size, ahead * joint, curl) for joint in range(1, VERTEBRAE))


def swinging(rng: np.random.Generator) -> tuple[Turn, ...]:
    """Links that hang on one another, each a little later than the one above."""
    angle, late = rng.uniform(0, 2 * np.pi), float(rng.uniform(0.02, 0.14))
    axis, other = (float(np.cos(angle)), float(np.sin(angle)), 0.0), (-float(np.sin(angle)), float(np.cos(angle)), 0.0)
    sizes = rng.uniform(0.15, 0.4, LINKS)
    along = tuple(Turn(joint, axis, float(sizes[joint]), -late * joint) for joint in range(LINKS))
    across = float(rng.uniform(0.0, 0.2))
    return along + tuple(Turn(joint, other, across, 0.25 - late * joint, often=0.5) for joint in range(LINKS))


def opening(rng: np.random.Generator) -> tuple[Turn, ...]:
    """Two leaves that open and close, mostly together."""
    together = rng.random() < 0.7
    size, mean = rng.uniform(0.4, 0.9, LEAVES), rng.uniform(-0.2, 0.7, LEAVES)
    if together:
        size[1], mean[1] = size[0], mean[0]
    late = 0.0 if together else float(rng.random())
    # The leaf on x > 0 rises as it turns about -y.
    sides = ((1, (0.0, 1.0, 0.0), 0.0), (2, (0.0, -1.0, 0.0), late))
    return tuple(
        Turn(joint, axis, float(size[joint - 1]), phase, float(mean[joint - 1])) for joint, axis, phase in sides
    )


SWAY, MAX_SWAY = 1.4, 0.45
"""How far a chain of joints turns in all, and the most that a joint of a short one does."""


def swaying(parents: tuple[int, ...], rng: np.random.Generator) -> tuple[Turn, ...]:
    """Joints of any skeleton: each after the joint that it hangs on, and opposite to the one beside it.

    The first joint stays, as it would turn the whole object. Axes scatter about one, often x: across most figures.
    """
    main = np.array(X) if rng.random() < 0.6 else rng.normal(size=3)
    late = float(rng.uniform(0.05, 0.2))
    count = len(parents)
    depth, beside, below = [0] * count, [0] * count, [0] * count
    for joint, parent in enumerate(parents):
        if parent >= 0:
            depth[joint], beside[joint] = depth[parent] + 1, parents[:joint].count(parent)
    for joint in reversed(range(1, count)):
        if parents[joint] >= 0:
            below[parents[joint]] = max(below[parents[joint]], below[joint] + 1)
    turns = []
    for joint, parent in enumerate(parents):
        x, y, z = main / np.linalg.norm(main) + rng.normal(0, 0.3, 3)
        size = float(rng.uniform(0.5, 1.0)) * min(MAX_SWAY, SWAY / max(depth[joint] + below[joint], 1))
        if parent >= 0:
            turns.append(Turn(joint, (float(x), float(y), float(z)), size, 0.5 * beside[joint] - late * depth[joint]))
    return tuple(turns)


GAITS = {"snake": winding, "chain": swinging, "hinged": opening}
