"""What a scene is: frozen, validated, engine-free data that renders to one video, byte for byte, whenever asked.

World frame: x right, y away from the camera, z up; metres and radians. Curves run over u in [0, 1], where frame t of T
stands at u = t / (T - 1). Assets are named by content hash.
"""

from typing import Annotated, Literal

from pydantic import Field

from assets.catalog import Split
from vosforge.config import Record

Vector = tuple[float, float, float]
Color = tuple[
    Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]
]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

Wrap = Literal["box", "unwrap"]


class Curve(Record):
    """A polynomial per axis over u in [0, 1]: ``axes[d][n]`` is the coefficient of u**n on axis d."""

    axes: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]


class ObjectSpec(Record):
    """A labelled object: a prepared mesh that moves, turns and stretches. Its instance id is its place + 1."""

    mesh: Hash
    category: str
    texture: Hash | None = None
    """An image that replaces the mesh's own materials."""
    wrap: Wrap = "box"
    """How it is put on: projected along the mesh's axes, or by new UVs (as BL30K does it)."""
    location: Curve
    rotation: Curve
    """XYZ Euler angles."""
    scale: Curve


class CameraSpec(Record):
    """A pinhole camera that looks at a moving point, its image's up kept close to +z."""

    location: Curve
    look_at: Curve
    fov: Annotated[float, Field(gt=0, lt=3)]
    """Horizontal field of view."""


class LightSpec(Record):
    """A point light (a sphere of ``radius``)."""

    location: Vector
    energy: Annotated[float, Field(ge=0)]
    """Watts."""
    color: Color
    radius: Annotated[float, Field(ge=0)] = 0.1


class WorldSpec(Record):
    """The surroundings: an HDRI turned about z."""

    hdri: Hash
    turn: float
    strength: Annotated[float, Field(ge=0)]


class PlaneSpec(Record):
    """A square textured plane: the backdrop (facing the camera at ``offset`` on y) or the ground (at ``offset`` on z).

    ``repeat`` copies of the image fit along a side; an emissive plane shines with ``emission``, a matt one has 0.
    """

    texture: Hash
    offset: float
    size: Annotated[float, Field(gt=0)] = 40.0
    repeat: Annotated[float, Field(gt=0)] = 1.0
    emission: Annotated[float, Field(ge=0)] = 0.0


class RenderSettings(Record):
    """How a scene becomes pixels. ``samples`` is per pixel; labels are exact at any number of them."""

    width: Annotated[int, Field(ge=16, le=8192)] = 768
    height: Annotated[int, Field(ge=16, le=8192)] = 512
    frames: Annotated[int, Field(ge=2, le=100_000)] = 160
    samples: Annotated[int, Field(ge=1, le=65536)] = 8
    denoise: bool = True
    max_bounces: Annotated[int, Field(ge=0, le=64)] = 2
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95


class SceneSpec(Record):
    """One video, whole: what is in it, how it moves, how it is lit, seen and rendered, and what it was drawn from."""

    format_version: Literal[1] = 1
    preset: str
    seed: int
    """The data set's seed."""
    index: Annotated[int, Field(ge=0)]
    """The video's place in the data set."""
    attempt: Annotated[int, Field(ge=0)] = 0
    split: Split
    objects: Annotated[tuple[ObjectSpec, ...], Field(min_length=1, max_length=255)]
    camera: CameraSpec
    lights: tuple[LightSpec, ...]
    world: WorldSpec | None = None
    backdrop: PlaneSpec | None = None
    ground: PlaneSpec | None = None
    render: RenderSettings

    @property
    def video_id(self) -> str:
        """The video's name inside shards and on disk."""
        return video_id(self.index)


def video_id(index: int) -> str:
    """The name of video ``index``: six digits, so that names sort as numbers do."""
    return f"{index:06d}"
