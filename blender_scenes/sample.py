"""Samples scenes: ``sample_scene`` turns (settings, catalog, seed, index, attempt) into a SceneSpec.

Motion follows BL30K's generator (Cheng et al., "Modular Interactive Video Object Segmentation", CVPR 2021): polynomials
of degree 4 through five control points, whose steps grow with the number of frames so that speed does not depend on it.
"""

import functools
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from assets.catalog import Asset, Catalog
from blender_scenes.choose import assets_of, pick
from blender_scenes.modules import DIVERSE, Modules, apply_modules
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.toss import Toss
from blender_scenes.object_spec import Curve, CurveMotion, ObjectSpec, Wrap
from blender_scenes.spec import CameraSpec, LightSpec, LookAtMotion, PlaneSpec, RenderSettings, SceneSpec, WorldSpec
from blender_scenes.strides import every
from blender_scenes.trajectories import (
    CONTROL_POINTS,
    Limits,
    camera_poses,
    evaluate,
    fit_curve,
    least_distance,
    limited_step,
    sample_pauses,
    sample_walk,
)
from vosforge.config import Amount, Range, Record, Share
from vosforge.gates import GateLimits
from vosforge.seeding import rng_for
from vosforge.terms import Split

# The region objects live in: a frustum seen from y = -6 that is 1.05 to either side at y = -2 (BL30K).
FRUSTUM_APEX = -6.0
FRUSTUM_SLOPE = 1.05 / (-2.0 - FRUSTUM_APEX)
OBJECT_DEPTH = (-2.0, 5.0)
LIGHT_DISTANCE = 11.0
MAX_SCENE_OBJECTS = 255
"""Per video: a mask label is one byte."""
REDRAWS = 50
LOWEST_CAMERA = 0.1
"""Metres above the origin of a camera that looks at it."""
MIN_ANGLE = 0.15
"""Objects whose projected centres are closer than this are assumed to occlude one another."""


class SceneConfig(Record):
    """Distribution of a data set's scenes. Speeds are per frame; lengths in metres, angles in radians.

    The defaults are the preset ``basic``; ``PRESETS`` has all of them.
    """

    preset: str = "basic"
    objects: Annotated[
        Range[Annotated[int, Field(ge=1, le=MAX_SCENE_OBJECTS)]],
        Field(description="minimum and maximum number of objects"),
    ] = (3, 5)
    median_objects: Annotated[
        float | None,
        Field(gt=0, exclude_if=lambda median: median is None, description="their median; null: all numbers as often"),
    ] = None
    object_speed: Annotated[float, Field(ge=0, description="spread of an object's step on each axis")] = 0.06
    turn_speed: Annotated[float, Field(ge=0, description="spread of an object's turn about each axis")] = 0.04
    limits: Annotated[Limits, Field(description="whether steps are limited in both directions of an axis")] = "both"
    height: Annotated[float, Field(gt=0, description="height of the objects' region, relative to its width")] = 0.75
    scale: Range[Amount] = (1.25, 3.0)
    scale_change: Annotated[float, Field(gt=0, le=1, description="minimum scale factor over a video")] = 0.8
    least_distance: Annotated[float, Field(ge=0, description="minimum distance between two objects' centres")] = 0.75
    distance_test: Annotated[
        Literal["every_frame", "minimiser"], Field(description="how it is computed; minimisers may miss it")
    ] = "every_frame"
    in_view: Annotated[Share, Field(description="share of the frames an object's centre must be seen in")] = 0.5
    camera_speed: Annotated[float, Field(ge=0, description="spread of the camera's step on each axis")] = 0.06
    camera_distance: Annotated[
        Range[Annotated[float, Field(gt=0)]] | None,
        Field(
            exclude_if=lambda distance: distance is None,
            description="distance of a camera above that looks at the origin; null: a camera before the scene",
        ),
    ] = None
    camera_path: Annotated[
        Amount, Field(exclude_if=lambda path: path == 0, description="maximum length of its straight path, in metres")
    ] = 0.0
    stride: Annotated[
        Range[Annotated[int, Field(ge=1, le=100)]],
        Field(exclude_if=lambda stride: stride == (1, 1), description="only every n-th frame of the motion is shown"),
    ] = (1, 1)
    fov: Range[Annotated[float, Field(gt=0, lt=3)]] = (0.7, 0.8)
    lights: Range[Annotated[int, Field(ge=0)]] = (1, 3)
    light_energy: Range[Amount] = (500.0, 4000.0)
    light_side: Annotated[
        Literal["camera", "all"], Field(description="lights on the camera's side of the scene, or all around")
    ] = "camera"
    world: Annotated[Share, Field(description="share of scenes lit by an HDRI")] = 1.0
    world_strength: Range[Amount] = (0.4, 1.1)
    backdrop: Annotated[Share, Field(description="share of scenes with a backdrop plane; others show the HDRI")] = 0.7
    backdrop_repeat: Annotated[float, Field(gt=0, description="copies of the image along the backdrop's side")] = 2.0
    emission: Range[Amount] = (0.2, 0.9)
    ground: Annotated[Share, Field(description="share of scenes without a backdrop that have a ground")] = 0.5
    retexture: Annotated[Share, Field(description="share of textured models whose texture is replaced")] = 0.5
    retexture_plain: Annotated[Share, Field(description="share of untextured models that get a texture")] = 0.6
    wrap: Annotated[Wrap, Field(description="how replacement textures are put on: box projection or new UVs")] = "box"
    gates: Annotated[bool, Field(description="whether videos that fail the visibility checks are redrawn")] = True
    gate_limits: Annotated[
        GateLimits, Field(exclude_if=lambda limits: limits == GateLimits(), description="what these checks refuse")
    ] = GateLimits()
    modules: Annotated[
        Modules, Field(exclude_if=lambda modules: modules == Modules(), description="modules that change the scene")
    ] = Modules()
    extends: Annotated[
        str | None,
        Field(exclude_if=lambda name: name is None, description="the preset that a user's own preset extends"),
    ] = None


# What MOVi-C, -D and -E have in common (Greff et al., CVPR 2022; Kubric's challenges/movi; docs/modules.md).
_MOVI = SceneConfig(
    scale=(0.9, 3.75),
    least_distance=0.0,
    in_view=0.0,
    fov=(0.8576, 0.8576),
    lights=(0, 0),
    world_strength=(1.0, 1.0),
    backdrop=0.0,
    ground=1.0,
    retexture=0.0,
    camera_distance=(7.0, 9.0),
    gate_limits=GateLimits(min_coverage=0.0, min_area=0.0, first_frame=True, max_empty=0.5),
)


def _movi(preset: str, tossed: tuple[int, int], **changes: object) -> SceneConfig:
    physics = Physics(
        share=1.0,
        seconds=(23 / 12, 23 / 12),
        floor=(0.0, 0.0),
        friction=(0.3, 0.5),
        bounce=(0.5, 0.5),
        toss=Toss(number=tossed),
    )
    return _MOVI.model_copy(update={"preset": preset, "modules": Modules(physics=physics), **changes})


PRESETS: dict[str, SceneConfig] = {
    "basic": SceneConfig(),
    # Cheng et al., CVPR 2021: the constants of the published generator.
    "bl30k": SceneConfig(
        preset="bl30k",
        object_speed=0.03,
        turn_speed=0.02,
        limits="upward",
        height=1.0,
        distance_test="minimiser",
        in_view=0.0,
        camera_speed=0.10,
        light_energy=(1000.0, 15000.0),
        light_side="all",
        world=0.0,
        backdrop=1.0,
        backdrop_repeat=1.0,
        emission=(0.1, 1.0),
        retexture_plain=1.0,
        wrap="unwrap",
        gates=False,
    ),
    # Short clips to train on: each frame moves as far as three of ``basic``, so that eight show what 24 would.
    "clips": SceneConfig(
        preset="clips",
        objects=(3, 6),
        object_speed=0.18,
        turn_speed=0.15,
        camera_speed=0.15,
        scale=(1.4, 3.6),
        retexture=0.3,
    ),
    # What trackers fail at, in known amounts (docs/modules.md).
    "diverse": SceneConfig(
        preset="diverse",
        objects=(1, 12),
        median_objects=3,
        camera_speed=0.02,
        least_distance=0.0,
        in_view=0.0,
        gate_limits=GateLimits(min_coverage=0.0, max_coverage=1.0, min_area=0.0, first_frame=True, max_empty=0.5),
        modules=DIVERSE,
    ),
    "movi_c": _movi("movi_c", (10, 10), objects=(3, 10)),
    "movi_d": _movi("movi_d", (1, 3), objects=(13, 21)),
    "movi_e": _movi("movi_e", (1, 3), objects=(13, 21), camera_distance=(8.0, 12.0), camera_path=4.0),
}


def sample_scene(
    config: SceneConfig,
    render: RenderSettings,
    catalog: Catalog,
    *,
    seed: int,
    index: int,
    split: Split,
    attempt: int = 0,
    place: int | None = None,
) -> SceneSpec:
    """Draw video ``index`` of the data set ``seed`` from the assets of its split.

    The draw depends on these arguments only, never on other videos. ``attempt`` counts redraws of a refused video.
    ``place``: the video's number within its split (default: ``index``), which determines its models:
    every model is used before any is used again. Raises VOSForgeError when the catalog lacks meshes, textures or
    HDRIs.
    """
    rng = rng_for(seed, "scene", index, attempt)
    stride = int(rng_for(seed, "stride", index, attempt).integers(config.stride[0], config.stride[1] + 1))
    render = render.model_copy(update={"frames": (render.frames - 1) * stride + 1})
    meshes, textures = assets_of(catalog, "mesh", split), assets_of(catalog, "texture", split)
    camera = _camera(rng, config, render.frames)
    objects: list[ObjectSpec] = []
    locations: list[Curve] = []
    for mesh in _dealt(meshes, config, seed, split, index if place is None else place):
        location, motion = _motion(rng, config, render, camera, locations)
        locations.append(location)
        replaced = rng.random() < (config.retexture if mesh.textures else config.retexture_plain)
        texture = pick(rng, textures).hash if replaced else None
        objects.append(
            ObjectSpec(mesh=mesh.hash, category=mesh.category, texture=texture, wrap=config.wrap, motion=motion)
        )
    backdrop = ground = world = None
    if rng.random() < config.backdrop:
        emission = float(rng.uniform(*config.emission))
        repeat = config.backdrop_repeat
        backdrop = PlaneSpec(texture=pick(rng, textures).hash, offset=12.0, repeat=repeat, emission=emission)
    elif rng.random() < config.ground:
        offset = float(rng.uniform(-3.2, -2.4))
        ground = PlaneSpec(texture=pick(rng, textures).hash, offset=offset, size=60.0, repeat=12.0)
    if rng.random() < config.world:
        hdri = pick(rng, assets_of(catalog, "hdri", split)).hash
        strength = float(rng.uniform(*config.world_strength))
        world = WorldSpec(hdri=hdri, turn=float(rng.uniform(0, 2 * np.pi)), strength=strength)
    scene = SceneSpec(
        preset=config.preset,
        seed=seed,
        index=index,
        attempt=attempt,
        split=split,
        objects=tuple(objects),
        camera=camera,
        lights=tuple(_light(rng, config) for _ in range(int(rng.integers(config.lights[0], config.lights[1] + 1)))),
        world=world,
        backdrop=backdrop,
        ground=ground,
        render=render,
    )
    return every(stride, apply_modules(config.modules, scene, catalog))


def _dealt(meshes: tuple[Asset, ...], config: SceneConfig, seed: int, split: Split, place: int) -> list[Asset]:
    """The models of a video: a stretch of one endless walk through seeded permutations of all models.

    Each run of as many videos as `_object_numbers` has entries has each of them once, in random order, so where a
    video's stretch begins follows from its place alone.
    """
    numbers = _object_numbers(config.objects, config.median_objects)
    block, within = divmod(place, len(numbers))
    counts = rng_for(seed, "object numbers", split, block).permutation(numbers)
    start = block * int(counts.sum()) + int(counts[:within].sum())
    laps = (divmod(position, len(meshes)) for position in range(start, start + int(counts[within])))
    return [meshes[_permutation(seed, split, lap, len(meshes))[at]] for lap, at in laps]


@functools.lru_cache(maxsize=8)
def _object_numbers(objects: tuple[int, int], median: float | None) -> np.ndarray:
    """The numbers of objects of a block of videos: each once, or 40 of them that fall off evenly about ``median``."""
    numbers = np.arange(objects[0], objects[1] + 1)
    if median is None:
        return numbers

    def cumulative(log_ratio: float) -> np.ndarray:
        shares = np.exp(log_ratio * np.arange(len(numbers)))
        return np.asarray(shares.cumsum() / shares.sum())

    # With half of its share below it, a number is the median.
    ratios = np.linspace(-3, 3, 1201)
    middles = [np.interp(0.5, cumulative(ratio), numbers + 0.5) for ratio in ratios]
    ratio = ratios[int(np.abs(np.array(middles) - median).argmin())]
    return numbers[np.searchsorted(cumulative(ratio), (np.arange(40) + 0.5) / 40)]


@functools.lru_cache(maxsize=8)
def _permutation(seed: int, split: Split, lap: int, size: int) -> np.ndarray:
    return rng_for(seed, "models", split, lap).permutation(size)


def _step_sigma(speed: float, frames: int) -> float:
    return speed * frames / (CONTROL_POINTS - 1)


def _motion(
    rng: np.random.Generator, config: SceneConfig, render: RenderSettings, camera: CameraSpec, others: list[Curve]
) -> tuple[Curve, CurveMotion]:
    """An object's location and curves, redrawn up to 50 times until it stays in view and clear of ``others``."""
    move, turn = (_step_sigma(speed, render.frames) for speed in (config.object_speed, config.turn_speed))
    # The change of scale over a video spreads evenly, in logarithm, over its four steps.
    least = config.scale_change ** (1 / (CONTROL_POINTS - 1))

    def place() -> np.ndarray:
        y = rng.uniform(*OBJECT_DEPTH)
        reach = FRUSTUM_SLOPE * (y - FRUSTUM_APEX)
        return np.array([rng.uniform(-reach, reach), y, rng.uniform(-reach, reach) * config.height])

    for _ in range(1 + REDRAWS):
        paused = sample_pauses(rng)
        location = fit_curve(sample_walk(paused, place(), lambda a: limited_step(rng, move, a, place(), config.limits)))
        if _clear(location, others, config, render) and _shows(location, others, config, camera, render):
            break
    rotation = sample_walk(paused, rng.uniform(0, 2 * np.pi, 3), lambda a: a + rng.normal(0, turn, 3))
    scale = sample_walk(paused, rng.uniform(*config.scale, 3), lambda a: a * rng.uniform(least, 1 / least, 3))
    return location, CurveMotion(location=location, rotation=fit_curve(rotation), scale=fit_curve(scale))


def _clear(location: Curve, others: list[Curve], config: SceneConfig, render: RenderSettings) -> bool:
    """Whether a centre keeps the minimum distance to all ``others``, by the preset's test."""
    if config.distance_test == "minimiser":
        return all(least_distance(other, location) >= config.least_distance for other in others)
    path = evaluate(location, render.frames)
    paths = (evaluate(other, render.frames) for other in others)
    return all(np.linalg.norm(path - other, axis=1).min() >= config.least_distance for other in paths)


def _shows(
    location: Curve, others: list[Curve], config: SceneConfig, camera: CameraSpec, render: RenderSettings
) -> bool:
    """Whether a centre is visible long enough, and at some time not occluded by ``others``."""
    if not config.in_view:
        return True
    poses = camera_poses(camera, render.frames)
    paths = [evaluate(curve, render.frames) for curve in (location, *others)]
    rays = [np.einsum("tij,tj->ti", poses[:, :3, :3], path) + poses[:, :3, 3] for path in paths]
    rays = [ray / np.linalg.norm(ray, axis=1, keepdims=True) for ray in rays]
    slope = np.abs(rays[0][:, :2]) / rays[0][:, 2:]
    reach = np.tan(camera.fov / 2) * np.array([1.0, render.height / render.width])
    inside = (slope < reach).all(axis=1)
    clear = [np.linalg.norm(rays[0] - other, axis=1) > MIN_ANGLE for other in rays[1:]]
    return bool(inside.mean() >= config.in_view and (inside & np.all(clear, axis=0)).any())


def _camera(rng: np.random.Generator, config: SceneConfig, frames: int) -> CameraSpec:
    if config.camera_distance is not None:
        return _camera_above(rng, config, *config.camera_distance)
    sigma = _step_sigma(config.camera_speed, frames)
    paused = sample_pauses(rng)

    def walk(x: float, y: tuple[float, float], z: float) -> Curve:
        def draw() -> np.ndarray:
            return rng.uniform([-x, y[0], -z], [x, y[1], z])

        return fit_curve(sample_walk(paused, draw(), lambda a: limited_step(rng, sigma, a, draw(), config.limits)))

    motion = LookAtMotion(location=walk(0.3, (-6.0, -5.0), 0.3), look_at=walk(0.5, (3.0, 4.0), 0.5))
    return CameraSpec(motion=motion, fov=float(rng.uniform(*config.fov)))


def _camera_above(rng: np.random.Generator, config: SceneConfig, near: float, far: float) -> CameraSpec:
    """A camera that looks at the origin, still or on a straight path between two places at allowed distances."""
    for _ in range(1 + REDRAWS):
        direction = _direction(rng)
        start = np.cbrt(rng.uniform(near**3, far**3)) * np.array([*direction[:2], abs(direction[2])])
        end = start + rng.uniform(0, config.camera_path) * _direction(rng)
        if min(start[2], end[2]) > LOWEST_CAMERA and near <= np.linalg.norm(end) <= far:
            break
    x, y, z = ((float(a), float(b)) for a, b in zip(start, end - start, strict=True))
    motion = LookAtMotion(location=Curve(axes=(x, y, z)), look_at=Curve(axes=((0.0,), (0.0,), (0.0,))))
    return CameraSpec(motion=motion, fov=float(rng.uniform(*config.fov)))


def _direction(rng: np.random.Generator) -> np.ndarray:
    direction = rng.normal(size=3)
    return np.asarray(direction / np.linalg.norm(direction))


def _light(rng: np.random.Generator, config: SceneConfig) -> LightSpec:
    direction = rng.normal(size=3)
    if config.light_side == "camera":
        direction[1] = -abs(direction[1])  # nothing is lit from behind the backdrop
    x, y, z = (float(value) for value in LIGHT_DISTANCE * direction / np.linalg.norm(direction))
    color = 0.5 + rng.uniform(0, 0.5, 3)
    red, green, blue = (float(value) for value in color / color.max())
    return LightSpec(location=(x, y, z), energy=float(rng.uniform(*config.light_energy)), color=(red, green, blue))
