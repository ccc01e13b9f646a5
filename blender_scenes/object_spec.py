"""What the objects of a scene are and how they move and change their shape: part of `blender_scenes.spec`."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from assets.prepared import Material
from vosforge.config import Record, Share

Vector = tuple[float, float, float]
Color = tuple[
    Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]
]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

Wrap = Literal["box", "unwrap"]
BOX_BLEND = 0.2
"""Blend width of box projection."""

Polynomial = Annotated[tuple[float, ...], Field(min_length=1)]
"""Coefficients over u in [0, 1], the constant first."""
Row = tuple[float, float, float, float]
Pose = tuple[Row, Row, Row, Row]


class Curve(Record):
    """A polynomial per axis over u in [0, 1]: ``axes[d][n]`` is the coefficient of u**n on axis d."""

    axes: tuple[Polynomial, Polynomial, Polynomial]


class Spline(Record):
    """A cubic spline through ``knots``, which are spread evenly over u in [0, 1] (without knots at its ends' second
    neighbours: the first two pieces are one polynomial, and so are the last two).
    """

    knots: Annotated[tuple[Vector, ...], Field(min_length=2)]


Trajectory = Curve | Spline
"""How a point moves over the video."""


class CurveMotion(Record):
    """Motion along polynomials or splines: position, rotation and scale."""

    kind: Literal["curve"] = "curve"
    location: Trajectory
    rotation: Trajectory
    """XYZ Euler angles."""
    scale: Trajectory


class BakedMotion(Record):
    """Motion baked frame by frame, for example by a simulation."""

    kind: Literal["baked"] = "baked"
    poses: Annotated[tuple[Pose, ...], Field(min_length=1)]
    """Matrices to the world's coordinates, one a frame: from a mesh's, or a camera's (x right, y down, z forward)."""


class SimulatedMotion(Record):
    """Motion by the scene's physics, from a start on: the object falls, collides, bounces, slides and rolls.

    It collides as the convex hull of its mesh at rest.
    """

    kind: Literal["simulated"] = "simulated"
    location: Vector
    """x and y of its origin, z of its lowest point."""
    rotation: Vector
    """XYZ Euler angles."""
    scale: Vector
    velocity: Vector = (0.0, 0.0, 0.0)
    """Metres a second."""
    spin: Vector = (0.0, 0.0, 0.0)
    """Change of the Euler angles in radians a second."""
    mass: Annotated[float, Field(gt=0)] = 1.0
    friction: Annotated[float, Field(ge=0)] = 0.5
    bounce: Annotated[float, Field(ge=0, le=1)] = 0.3
    """The share of its speed that a collision gives back, multiplied by that of what it meets."""
    settled: Annotated[bool, Field(exclude_if=lambda settled: not settled)] = False
    """Whether it has come to rest, from that start, when the video begins; the others are not there meanwhile."""


class PhysicsSpec(Record):
    """The physics of a scene: gravity, a floor without end, and the scene's backdrop and walls."""

    floor: float
    """At this z."""
    rate: Annotated[float, Field(gt=0)] = 24.0
    """Frames a second."""
    gravity: Annotated[float, Field(ge=0)] = 9.81
    friction: Annotated[float, Field(ge=0)] = 0.5
    """Of floor, backdrop and walls."""
    bounce: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of floor, backdrop and walls."""
    pit: Annotated[tuple[float, float, float] | None, Field(exclude_if=lambda pit: pit is None)] = None
    """x, y and half the side in metres of a square whose walls hold together what is settled while it comes to rest.
    In the video they are gone."""
    poses: Hash | None = None
    """The result, once a worker has simulated it: the content hash of an array float64 ``[N, T, 4, 4]``, object to
    world of all objects and distractors that move so, in order. The asset store has it, and the shard, as
    ``baked/<hash>``."""


Excuse = Literal["black", "burnt", "flat", "hidden"]
"""What a module may cause on purpose, which then is no reason to refuse a video: frames without light, overexposed or
without contrast. "hidden", objects out of sight, is still refused, but counted as the module's."""


class Trait(Record):
    """What a module did to the scene or the object that holds this trait. Nothing is rendered from it."""

    module: str
    amounts: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """What the module drew: its amounts by name."""
    excuses: Annotated[tuple[Excuse, ...], Field(exclude_if=lambda excuses: not excuses)] = ()


Traits = Annotated[tuple[Trait, ...], Field(exclude_if=lambda traits: not traits)]
"""In the order in which the modules drew; records hold them only where there are any."""


class Swing(Record):
    """A number that swings over u: ``mean + size * sin(2π (turns * u + phase))``."""

    mean: float = 0.0
    size: float
    turns: float
    phase: float = 0.0


Course = Polynomial | Swing
"""A number over u."""


class Deformation(Record):
    """A mesh's deformation, in its unit-sized frame: a wave, then a twist, then a bend."""

    twist: Course = (0.0,)
    """Turn about z, in radians per unit of height, over u."""
    wave: Course = (0.0,)
    """Amplitude in x of a sine wave along z, over u."""
    wavelength: Annotated[float, Field(gt=0)] = 1.0
    phase: Course = (0.0,)
    """The wave's phase in turns, over u."""
    bend: Annotated[Course, Field(exclude_if=lambda bend: bend == (0.0,))] = (0.0,)
    """Turn of the z axis toward x, in radians per unit of height, over u: the axis becomes an arc of a circle."""
    axis: Annotated[Literal["x", "y", "z", "longest"], Field(exclude_if=lambda axis: axis == "z")] = "z"
    """Which of the mesh's axes stands for z above; the two that follow it, in the order x, y, z, x, stand for x, y.
    The longest is that along which the mesh reaches furthest."""


class JointMotion(Record):
    """How a joint of a mesh with a skeleton turns, and all that hangs on it."""

    joint: Annotated[int, Field(ge=0)]
    axis: Vector
    """The axis it turns about, in the mesh's own axes, as they are at rest."""
    angle: Course


class MorphMotion(Record):
    """How much of a shape key is added to a mesh."""

    morph: Annotated[int, Field(ge=0)]
    weight: Course
    """0: none, 1: all of it."""


class ClothSpec(Record):
    """How an object's mesh, a rectangle of cloth (`assets.shapes.cloth`), hangs or falls.

    It is simulated where its motion begins. It meets the ground; one that falls also meets things that never move and
    keep their shape.
    """

    held: Literal["side", "top", "corners", "nothing"] = "nothing"
    """What of it stays where it is: the side at its lowest x, its upper side, the corners of that, or nothing."""
    slope: float = 0.0
    """It begins in folds along z: so far, in radians, they turn it out of its plane at most."""
    folds: float = 0.0
    """How many there are along x."""
    phase: float = 0.0
    """Of the first one, in turns."""
    wind: Vector = (0.0, 0.0, 0.0)
    """Metres a second in the world, about."""
    gusts: Annotated[float, Field(ge=0)] = 0.0
    """The size of whirls in the wind, in shares of its speed."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the whirls."""
    stiffness: Annotated[float, Field(ge=0)] = 0.5
    """Against bends, in Blender's units: 0.05 is silk, 5 is leather."""
    before: Annotated[float, Field(ge=0)] = 0.0
    """Seconds for which it has moved when the video begins."""
    rate: Annotated[float, Field(gt=0)] = 24.0
    """Frames a second."""
    shapes: Hash | None = None
    """The result, once a worker has simulated it: the content hash of an array float32 ``[T, V, 3]``, its vertices in
    its own axes at each frame. The asset store has it, and the shard, as ``baked/<hash>``."""


class MadeMesh(Record):
    """A mesh made for one scene: what `assets.procedural.made_mesh` makes of a family and a seed."""

    family: str
    seed: Annotated[int, Field(ge=0)]


UNMADE = "0" * 32
"""Stands for the content hash of a mesh that is still to be made."""


class Patch(Record):
    """A square part of an image, in shares of its width and height."""

    left: Share
    bottom: Share
    side: Annotated[Share, Field(gt=0)]

    def of(self, image: np.ndarray) -> np.ndarray:
        """This part of ``image [H, W, ...]``, bottom row first; at least one pixel."""
        (height, width), side = image.shape[:2], self.side
        low, left = min(int(self.bottom * height), height - 1), min(int(self.left * width), width - 1)
        return image[low : low + max(round(side * height), 1), left : left + max(round(side * width), 1)]


class ObjectSpec(Record):
    """A prepared mesh that moves, and may change its shape. A labelled object's instance id is its place + 1."""

    mesh: Hash
    made: Annotated[MadeMesh | None, Field(exclude_if=lambda made: made is None)] = None
    """Where the mesh comes from if no catalog has it. Drawn scenes then have UNMADE as ``mesh``; the worker that
    renders one makes the mesh and names its content."""
    category: str
    material: Material | None = None
    """Replaces the mesh's own materials."""
    texture: Hash | None = None
    """An image that replaces the mesh's own materials."""
    wrap: Wrap = "box"
    """How it is applied: box projection, or new UVs (as in BL30K)."""
    patch: Annotated[Patch | None, Field(exclude_if=lambda patch: patch is None)] = None
    """The part of it that box projection lays on each side; None: all of it."""
    motion: Annotated[CurveMotion | BakedMotion | SimulatedMotion, Field(discriminator="kind")]
    deformation: Deformation | None = None
    joints: Annotated[tuple[JointMotion, ...], Field(exclude_if=lambda joints: not joints)] = ()
    """How the joints of its mesh turn, before any deformation; a joint's turns follow one another."""
    morphs: Annotated[tuple[MorphMotion, ...], Field(exclude_if=lambda morphs: not morphs)] = ()
    """How the shape keys of its mesh come and go, before its joints turn."""
    cloth: Annotated[ClothSpec | None, Field(exclude_if=lambda cloth: cloth is None)] = None
    """How it moves as cloth; then it has no deformation, joints or shape keys that move."""
    stands: Annotated[bool, Field(exclude_if=lambda stands: not stands)] = False
    """Whether its height is such that its lowest vertex always touches the ground, if there is one."""
    traits: Traits = ()
    """What modules did to it."""

    @property
    def rigid(self) -> bool:
        """Whether it keeps its shape."""
        return self.deformation is None and not self.joints and not self.morphs and self.cloth is None

    @model_validator(mode="after")
    def _one_replacement(self) -> Self:
        if self.material is not None and self.texture is not None:
            raise ValueError("an object's own materials are replaced by a material or by a texture, not by both")
        return self

    @model_validator(mode="after")
    def _cloth_alone(self) -> Self:
        if self.cloth is not None and (self.deformation is not None or self.joints or self.morphs):
            raise ValueError("a cloth has no deformation, joints or shape keys that move: leave these out")
        if self.cloth is not None and self.stands:
            raise ValueError("a cloth hangs or falls, it does not stand: leave out 'stands'")
        return self
