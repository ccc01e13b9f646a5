"""How a scene is drawn: ``sample_scene`` turns (settings, catalog, seed, index, attempt) into a SceneSpec.

Motion follows BL30K's generator (Cheng et al., "Modular Interactive Video Object Segmentation", CVPR 2021): polynomials
of degree 4 through five control points, whose steps grow with the number of frames so that speed does not depend on it.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from assets.catalog import Asset, Catalog
from blender_scenes.spec import (
    CameraSpec,
    Curve,
    LightSpec,
    ObjectSpec,
    PlaneSpec,
    RenderSettings,
    SceneSpec,
    Split,
    WorldSpec,
)
from blender_scenes.trajectories import CONTROL_POINTS, camera_poses, evaluate, fit_curve, limited_step, sample_walk
from vosforge.config import Record
from vosforge.errors import VOSForgeError
from vosforge.seeding import rng_for

Share = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]

# The region objects live in: a frustum seen from y = -6 that is 1.05 to either side at y = -2 (BL30K).
FRUSTUM_APEX = -6.0
FRUSTUM_SLOPE = 1.05 / (-2.0 - FRUSTUM_APEX)
OBJECT_DEPTH = (-2.0, 5.0)
LIGHT_DISTANCE = 11.0
REDRAWS = 50
LEAST_ANGLE = 0.15
"""Objects whose centres are seen closer together than this are taken to hide one another."""


class SceneConfig(Record):
    """What scenes of a data set are like. Speeds are per frame; lengths in metres, angles in radians."""

    preset: str = "basic"
    objects: Annotated[tuple[int, int], Field(description="fewest and most objects")] = (3, 5)
    object_speed: Annotated[float, Field(ge=0, description="spread of an object's step on each axis")] = 0.06
    turn_speed: Annotated[float, Field(ge=0, description="spread of an object's turn about each axis")] = 0.04
    scale: Range = (1.25, 3.0)
    scale_change: Annotated[float, Field(gt=0, le=1, description="least scale factor over a video")] = 0.8
    least_distance: Annotated[float, Field(ge=0, description="least distance of two objects' centres")] = 0.75
    camera_speed: Annotated[float, Field(ge=0, description="spread of the camera's step on each axis")] = 0.06
    fov: Range = (0.7, 0.8)
    lights: tuple[int, int] = (1, 3)
    light_energy: Range = (500.0, 4000.0)
    world_strength: Range = (0.4, 1.1)
    backdrop: Annotated[Share, Field(description="share of scenes with a backdrop plane; others show the HDRI")] = 0.7
    emission: Range = (0.2, 0.9)
    ground: Annotated[Share, Field(description="share of scenes without a backdrop that have a ground")] = 0.5
    retexture: Annotated[Share, Field(description="share of textured models whose texture is replaced")] = 0.5
    retexture_plain: Annotated[Share, Field(description="share of untextured models that get a texture")] = 0.6


def sample_scene(
    config: SceneConfig,
    render: RenderSettings,
    catalog: Catalog,
    *,
    seed: int,
    index: int,
    split: Split,
    attempt: int = 0,
) -> SceneSpec:
    """Draw video ``index`` of the data set ``seed`` from the assets of its split.

    The draw depends on these arguments only, never on other videos. ``attempt`` counts redraws of a refused video.
    Raises VOSForgeError when the catalog lacks meshes, textures or HDRIs.
    """
    rng = rng_for(seed, "scene", index, attempt)
    meshes, textures, hdris = (_some(catalog, kind, split) for kind in ("mesh", "texture", "hdri"))
    camera = _camera(rng, config, render.frames)
    count = int(rng.integers(config.objects[0], config.objects[1] + 1))
    # Different models in one video as long as there are enough.
    chosen = rng.choice(len(meshes), size=count, replace=len(meshes) < count)
    objects: list[ObjectSpec] = []
    paths: list[np.ndarray] = []
    for place in chosen:
        curve, path = _object_curve(rng, config, render, camera, paths)
        paths.append(path)
        objects.append(_object(rng, config, render.frames, meshes[place], textures, curve))
    backdrop = ground = None
    if rng.random() < config.backdrop:
        emission = float(rng.uniform(*config.emission))
        backdrop = PlaneSpec(texture=_pick(rng, textures).hash, offset=12.0, repeat=2.0, emission=emission)
    elif rng.random() < config.ground:
        offset = float(rng.uniform(-3.2, -2.4))
        ground = PlaneSpec(texture=_pick(rng, textures).hash, offset=offset, size=60.0, repeat=12.0)
    return SceneSpec(
        preset=config.preset,
        seed=seed,
        index=index,
        attempt=attempt,
        split=split,
        objects=tuple(objects),
        camera=camera,
        lights=tuple(_light(rng, config) for _ in range(int(rng.integers(config.lights[0], config.lights[1] + 1)))),
        world=WorldSpec(
            hdri=_pick(rng, hdris).hash,
            turn=float(rng.uniform(0, 2 * np.pi)),
            strength=float(rng.uniform(*config.world_strength)),
        ),
        backdrop=backdrop,
        ground=ground,
        render=render,
    )


def _some(catalog: Catalog, kind: str, split: Split) -> tuple[Asset, ...]:
    assets = catalog.of_kind(kind)  # type: ignore[arg-type]
    if not assets:
        raise VOSForgeError(f"the catalog has no {kind} for the split '{split}': add more assets of this kind")
    return assets


def _pick(rng: np.random.Generator, assets: tuple[Asset, ...]) -> Asset:
    return assets[int(rng.integers(len(assets)))]


def _step_sigma(speed: float, frames: int) -> float:
    return speed * frames / (CONTROL_POINTS - 1)


def _object_curve(
    rng: np.random.Generator, config: SceneConfig, render: RenderSettings, camera: CameraSpec, others: list[np.ndarray]
) -> tuple[Curve, np.ndarray]:
    """A path ``[T, 3]`` in view that keeps clear of ``others``, redrawn up to 50 times, then taken as it is."""
    sigma = _step_sigma(config.object_speed, render.frames)

    def draw() -> np.ndarray:
        y = rng.uniform(*OBJECT_DEPTH)
        reach = FRUSTUM_SLOPE * (y - FRUSTUM_APEX)
        # Frames are wider than high: the region is too, so that objects stay in view.
        return np.array([rng.uniform(-reach, reach), y, rng.uniform(-reach, reach) * 0.75])

    for _ in range(REDRAWS):
        curve = fit_curve(sample_walk(rng, draw, lambda a, b: limited_step(rng, sigma, a, b)))
        path = evaluate(curve, render.frames)
        apart = all(np.linalg.norm(path - other, axis=1).min() >= config.least_distance for other in others)
        if apart and _shows(path, others, camera, render):
            break
    return curve, path


def _shows(path: np.ndarray, others: list[np.ndarray], camera: CameraSpec, render: RenderSettings) -> bool:
    """Whether a centre ``[T, 3]`` is inside the frame half the time, and at some time not in line with ``others``."""
    poses = camera_poses(camera, render.frames)
    rays = [np.einsum("tij,tj->ti", poses[:, :3, :3], p) + poses[:, :3, 3] for p in (path, *others)]
    rays = [ray / np.linalg.norm(ray, axis=1, keepdims=True) for ray in rays]
    slope = np.abs(rays[0][:, :2]) / rays[0][:, 2:]
    reach = np.tan(camera.fov / 2) * np.array([1.0, render.height / render.width])
    inside = (slope < reach).all(axis=1)
    clear = [np.linalg.norm(rays[0] - other, axis=1) > LEAST_ANGLE for other in rays[1:]]
    return bool(inside.mean() >= 0.5 and (inside & np.all(clear, axis=0)).any())


def _object(
    rng: np.random.Generator,
    config: SceneConfig,
    frames: int,
    mesh: Asset,
    textures: tuple[Asset, ...],
    location: Curve,
) -> ObjectSpec:
    turn = _step_sigma(config.turn_speed, frames)
    rotation = sample_walk(rng, lambda: rng.uniform(-np.pi, np.pi, 3), lambda a, _: a + rng.normal(0, turn, 3))
    # The change of scale over a video spreads evenly, in logarithm, over its four steps.
    least = config.scale_change ** (1 / (CONTROL_POINTS - 1))
    scale = sample_walk(rng, lambda: rng.uniform(*config.scale, 3), lambda a, _: a * rng.uniform(least, 1 / least, 3))
    replaced = rng.random() < (config.retexture if mesh.textures else config.retexture_plain)
    return ObjectSpec(
        mesh=mesh.hash,
        category=mesh.category,
        texture=_pick(rng, textures).hash if replaced else None,
        location=location,
        rotation=fit_curve(rotation),
        scale=fit_curve(scale),
    )


def _camera(rng: np.random.Generator, config: SceneConfig, frames: int) -> CameraSpec:
    sigma = _step_sigma(config.camera_speed, frames)

    def walk(x: float, y: Range, z: float) -> Curve:
        def draw() -> np.ndarray:
            return rng.uniform([-x, y[0], -z], [x, y[1], z])

        return fit_curve(sample_walk(rng, draw, lambda a, b: limited_step(rng, sigma, a, b)))

    return CameraSpec(
        location=walk(0.3, (-6.0, -5.0), 0.3), look_at=walk(0.5, (3.0, 4.0), 0.5), fov=float(rng.uniform(*config.fov))
    )


def _light(rng: np.random.Generator, config: SceneConfig) -> LightSpec:
    direction = rng.normal(size=3)
    direction[1] = -abs(direction[1])  # on the camera's side of the scene: nothing is lit from behind the backdrop
    x, y, z = (float(value) for value in LIGHT_DISTANCE * direction / np.linalg.norm(direction))
    color = 0.5 + rng.uniform(0, 0.5, 3)
    red, green, blue = (float(value) for value in color / color.max())
    return LightSpec(location=(x, y, z), energy=float(rng.uniform(*config.light_energy)), color=(red, green, blue))
