"""A scene: frozen, validated, engine-free data that always renders to the same video, byte for byte.

World frame: x right, y away from the camera, z up; metres and radians. Curves run over u in [0, 1], where frame t of T
stands at u = t / (T - 1). Assets are named by content hash.
"""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from blender_scenes.object_spec import (
    BakedMotion,
    Color,
    Excuse,
    Hash,
    ObjectSpec,
    PhysicsSpec,
    Polynomial,
    SimulatedMotion,
    Trait,
    Traits,
    Trajectory,
    Vector,
)
from vosforge.config import Record
from vosforge.terms import Split

Pass = Literal["depth", "flow", "normal", "amodal", "tracks"]
"""Passes that may be rendered besides colours and masks."""


class LookAtMotion(Record):
    """A camera that moves and looks at a moving point, its image's up kept close to +z."""

    kind: Literal["look_at"] = "look_at"
    location: Trajectory
    look_at: Trajectory


CameraMotion = Annotated[LookAtMotion | BakedMotion, Field(discriminator="kind")]


class Cut(Record):
    """Where the video goes over to another camera, while objects move on. It has the same lens, zoom and shutter."""

    frame: Annotated[int, Field(ge=1)]
    """The first frame that this camera takes."""
    motion: CameraMotion
    """Where it is over the whole video, like the first camera's; what lies outside of its shot is not seen."""


class LensSpec(Record):
    """A lens with depth of field. Labels stay those of a pinhole camera."""

    f_number: Annotated[float, Field(gt=0)]
    """F-number of a lens with the camera's focal length on a 36 mm sensor; smaller numbers blur more."""
    focus: Polynomial
    """Focus distance in metres along the camera's axis, over u."""


class CameraSpec(Record):
    """The camera's pose and optics."""

    motion: CameraMotion
    cuts: Annotated[tuple[Cut, ...], Field(exclude_if=lambda cuts: not cuts)] = ()
    """Where the video cuts to other cameras, in order: each takes the frames from its own on, ``motion`` those before.
    """
    fov: Annotated[float, Field(gt=0, lt=3)]
    """Horizontal field of view."""
    zoom: Annotated[Polynomial | None, Field(exclude_if=lambda zoom: zoom is None)] = None
    """By how many doublings the focal length differs from that of ``fov``, over u."""
    lens: LensSpec | None = None
    """None: a pinhole camera, sharp everywhere."""
    shutter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How long it stays open, as a share of the time between frames, half of it before the frame's instant. What moves
    meanwhile is blurred; labels stay those of the instant."""

    @model_validator(mode="after")
    def _cuts_in_order(self) -> Self:
        frames = [cut.frame for cut in self.cuts]
        if any(later <= earlier for earlier, later in pairwise(frames)):
            raise ValueError(f"cuts are at frames {frames}: give them in order, one a frame")
        return self

    @property
    def motions(self) -> tuple[LookAtMotion | BakedMotion, ...]:
        """Those of all cameras, in order of their shots."""
        return (self.motion, *(cut.motion for cut in self.cuts))


class LightSpec(Record):
    """A point light (a sphere of ``radius``)."""

    location: Vector
    energy: Annotated[float, Field(ge=0)]
    """Watts."""
    color: Color
    radius: Annotated[float, Field(ge=0)] = 0.1


class SunSpec(Record):
    """A sun, infinitely far away; cameras do not see it."""

    toward: Vector
    """The direction to it from anywhere."""
    strength: Annotated[float, Field(ge=0)]
    """Watts per square metre that faces it."""
    color: Color
    angle: Annotated[float, Field(ge=0, lt=3)]
    """How wide it is; wide suns cast soft shadows."""


class PanelSpec(Record):
    """A square that shines on one side, toward ``target``; cameras do not see it."""

    location: Vector
    target: Vector
    size: Annotated[float, Field(gt=0)]
    energy: Annotated[float, Field(ge=0)]
    """Watts."""
    color: Color


class WorldSpec(Record):
    """The surroundings: an HDRI turned about z."""

    hdri: Hash
    turn: float
    strength: Annotated[float, Field(ge=0)]
    tint: Annotated[Color, Field(exclude_if=lambda tint: tint == (1.0, 1.0, 1.0))] = (1.0, 1.0, 1.0)
    """Its light is multiplied by this linear RGB."""


class PlaneSpec(Record):
    """A square textured plane: the backdrop (facing the camera at ``offset`` on y), a wall at one side (at ``offset``
    on x) or the ground (at ``offset`` on z).

    ``repeat`` copies of the image fit along a side; an emissive plane shines with ``emission``, a matt one has 0.
    """

    texture: Hash
    offset: float
    size: Annotated[float, Field(gt=0)] = 40.0
    repeat: Annotated[float, Field(gt=0)] = 1.0
    emission: Annotated[float, Field(ge=0)] = 0.0
    height: Annotated[float | None, Field(gt=0, exclude_if=lambda height: height is None)] = None
    """Of an upright plane that is not square; ``size`` is then its width."""


class MirrorSpec(Record):
    """An upright, flat mirror in a matt frame. Its frame is part of the same rectangle; its back is matt, too.

    Like a plane it has no label, and what is seen in it has none. Haze counts up to the mirror only.
    """

    middle: Vector
    turn: float = 0.0
    """About z; 0 faces the backdrop's way, towards -y."""
    width: Annotated[float, Field(gt=0)]
    height: Annotated[float, Field(gt=0)]
    frame: Annotated[float, Field(ge=0)] = 0.0
    """Metres of each side that the frame takes."""
    tint: Color = (0.9, 0.9, 0.9)
    """Reflectance of the mirror."""
    color: Color = (0.2, 0.2, 0.2)
    """Of frame and back."""

    @model_validator(mode="after")
    def _frame_leaves_some_mirror(self) -> Self:
        if 2 * self.frame >= min(self.width, self.height):
            raise ValueError("a mirror's frame leaves no mirror: make it narrower than half of the shorter side")
        return self


class AtmosphereSpec(Record):
    """Homogeneous haze that attenuates distant light and adds its own colour (Koschmieder's law)."""

    density: Annotated[float, Field(gt=0)]
    """Extinction per metre: light keeps 37 % after 1 / density metres."""
    color: Color
    """Linear RGB of dense haze."""


class RainSpec(Record):
    """Rain: drops that fall as fast as their size lets them, drawn over the rendered frames. Labels are those without.

    Frame t is taken t / ``rate`` seconds after the first.
    """

    intensity: Annotated[float, Field(gt=0)]
    """Millimetres an hour: 2 is light rain, 10 moderate, 50 heavy, 100 a cloudburst."""
    wind: tuple[float, float] = (0.0, 0.0)
    """Metres a second along x and y."""
    brightness: Annotated[float, Field(ge=0)]
    """How many times as bright as the frame around it a drop is: it shows the sky and the lamps, wherever it falls."""
    exposure: Annotated[float, Field(gt=0)] = 1 / 60
    """Seconds over which a drop is smeared, half of it before the frame's instant."""
    rate: Annotated[float, Field(gt=0)] = 24.0
    """Frames a second."""


class RenderSettings(Record):
    """Render settings. ``samples`` is per pixel; labels are exact at any number.

    Settings of light and encoding are ignored without colours.
    """

    width: Annotated[int, Field(ge=16, le=8192)] = 768
    height: Annotated[int, Field(ge=16, le=8192)] = 512
    frames: Annotated[int, Field(ge=2, le=100_000)] = 160
    colors: bool = True
    """Whether to render colours; otherwise masks and passes only."""
    samples: Annotated[int, Field(ge=1, le=65536)] = 8
    tolerated_noise: Annotated[float, Field(ge=0)] = 16.0
    """A pixel with less noise (of 255) after half of the samples gets no more; 0: every pixel gets all."""
    denoise: bool = True
    denoiser: Literal["fast", "high", "adaptive"] = "adaptive"
    """Quality of Intel's denoiser; "adaptive": high where much of a frame is rendered."""
    denoise_light: bool = True
    """Whether it gets the light on surfaces without their colours, where `lay_backdrop` lays one; else whole frames."""
    max_bounces: Annotated[int, Field(ge=0, le=64)] = 2
    lay_backdrop: bool = True
    """Whether an emissive backdrop that alone stands behind the objects is laid under them instead of rendered."""
    plain: Annotated[bool, Field(exclude_if=lambda plain: not plain)] = False
    """Whether Cycles renders and denoises whole frames by itself, with none of what makes that faster. To compare with;
    records hold it only where it is so."""
    encoding: Literal["jpeg", "png", "webp"] = "jpeg"
    """Encoding of frames: JPEG, or one of two lossless formats."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    jpeg_subsampling: Literal["4:4:4", "4:2:0"] = "4:4:4"
    """Chroma subsampling of JPEGs: none, or 2×2."""
    jpeg_tables: Literal["even", "annex-k"] = "even"
    """How coarsely JPEGs store what is fine: hardly more than what is broad, each number (at 4:4:4) as coarsely as it
    is worth its bits; or as the standard suggests."""
    passes: tuple[Pass, ...] = ()
    """Passes to store besides colours and masks."""
    tracks: Annotated[int, Field(ge=1, le=65536)] = 256
    """Number of points in the pass ``tracks``."""


class SceneSpec(Record):
    """The complete description of one video: objects, motion, light, camera, render settings and seed."""

    format_version: Literal[1] = 1
    preset: str
    seed: int
    """The data set's seed."""
    index: Annotated[int, Field(ge=0)]
    """The video's place in the data set."""
    attempt: Annotated[int, Field(ge=0)] = 0
    split: Split
    objects: Annotated[tuple[ObjectSpec, ...], Field(min_length=1, max_length=255)]
    distractors: tuple[ObjectSpec, ...] = ()
    """Distractors: visible, occluding objects labelled as background."""
    camera: CameraSpec
    lights: tuple[LightSpec, ...]
    suns: Annotated[tuple[SunSpec, ...], Field(exclude_if=lambda suns: not suns)] = ()
    panels: Annotated[tuple[PanelSpec, ...], Field(exclude_if=lambda panels: not panels)] = ()
    world: WorldSpec | None = None
    backdrop: PlaneSpec | None = None
    ground: PlaneSpec | None = None
    walls: Annotated[tuple[PlaneSpec, ...], Field(exclude_if=lambda walls: not walls)] = ()
    """At the sides."""
    mirrors: Annotated[tuple[MirrorSpec, ...], Field(max_length=64, exclude_if=lambda mirrors: not mirrors)] = ()
    atmosphere: AtmosphereSpec | None = None
    rain: Annotated[RainSpec | None, Field(exclude_if=lambda rain: rain is None)] = None
    physics: Annotated[PhysicsSpec | None, Field(exclude_if=lambda physics: physics is None)] = None
    exposure: float = 0.0
    """In stops: one more makes the frames twice as bright."""
    drift: Annotated[Trajectory | None, Field(exclude_if=lambda drift: drift is None)] = None
    """Stops of red, green and blue that are added to the exposure over the video, as cameras adapt."""
    render: RenderSettings
    attributes: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Free tags for finding the video; nothing depends on them."""
    traits: Traits = ()
    """What modules did to the scene as a whole; what they did to an object is with the object."""

    @model_validator(mode="after")
    def _baked_motion_is_as_long_as_the_video(self) -> Self:
        motions = [item.motion for item in (*self.objects, *self.distractors)]
        for motion in (*motions, *self.camera.motions):
            if isinstance(motion, BakedMotion) and len(motion.poses) != self.render.frames:
                raise ValueError(f"baked motion has {len(motion.poses)} poses for {self.render.frames} frames")
            if isinstance(motion, SimulatedMotion) and self.physics is None:
                raise ValueError("an object moves by physics, but the scene has none: give it 'physics'")
        return self

    @model_validator(mode="after")
    def _cuts_are_in_the_video(self) -> Self:
        if self.camera.cuts and (last := self.camera.cuts[-1].frame) >= self.render.frames:
            raise ValueError(f"a cut is at frame {last}, but the last frame is {self.render.frames - 1}")
        return self

    @property
    def assets(self) -> frozenset[str]:
        """The content hashes of all catalog assets in the scene."""
        items, planes = (*self.objects, *self.distractors), (self.backdrop, self.ground, *self.walls)
        meshes = {item.mesh for item in items if item.made is None} | {item.texture for item in items if item.texture}
        return frozenset(
            meshes | {plane.texture for plane in planes if plane} | ({self.world.hdri} if self.world else set())
        )

    @property
    def all_traits(self) -> tuple[Trait, ...]:
        """What modules did to the scene and to all its objects and distractors."""
        items = (*self.objects, *self.distractors)
        return (*self.traits, *(trait for item in items for trait in item.traits))

    @property
    def excuses(self) -> frozenset[Excuse]:
        """What its modules cause on purpose."""
        return frozenset(excuse for trait in self.all_traits for excuse in trait.excuses)

    @property
    def video_id(self) -> str:
        """The video's name inside shards and on disk."""
        return video_id(self.index)


def video_id(index: int) -> str:
    """The name of video ``index``: six digits, so that names sort as numbers do."""
    return f"{index:06d}"
