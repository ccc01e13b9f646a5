"""Builds the record of a rendered video from its scene and pixels."""

import json
import platform
from collections.abc import Collection, Sequence

import numpy as np

from assets.catalog import Asset, Catalog
from blender_scenes.geometry import SceneGeometry
from blender_scenes.making import made_assets
from blender_scenes.spec import SceneSpec
from vosforge import __version__
from vosforge.amounts import misfit
from vosforge.videos.amounts import RECORD, changes_shape, measure_video
from vosforge.videos.format import SceneRecord, VideoRecord

SHAPES, SHAPE_POINTS = 16, 256
"""How many frames and vertices of an object its deformation is measured by, at most."""


def video_record(
    geometry: SceneGeometry,
    catalog: Catalog,
    rgb: tuple[bytes, ...],
    mask: np.ndarray,
    darkest: float | None,
    renderer: str,
    passes: dict[str, np.ndarray] | None = None,
    contrast: Sequence[np.ndarray] = (),
    shown: Collection[int] | None = None,
) -> VideoRecord:
    """The record of the video of ``geometry``'s scene.

    ``rgb``: its T encoded frames, empty without colours; ``mask``: uint8 ``[T, H, W]``; ``darkest``: the lowest mean
    brightness of a frame, 0 to 255, None without colours; ``renderer``: the renderer's name; ``passes``: the data
    sets of its optional passes; ``contrast``: that of the objects in some frames, ``[K]`` each; ``shown``: numbers of
    the objects and distractors in frame 0. Raises VOSForgeError when ``catalog`` lacks one of the scene's assets.
    """
    spec = geometry.spec
    poses, text = np.stack([poses[1] for poses in geometry.poses[: len(spec.objects)]], axis=1), spec.model_dump_json()
    measured = measure_video(
        mask,
        len(spec.objects),
        recipe=text,
        shown=shown,
        pose=geometry.to_camera[:, None] @ poses,
        focal=geometry.K[:, 0, 0],
        visibility=(passes or {}).get("objects/visibility"),
        contrast=contrast,
        deformation=_deformation(geometry, text),
    )
    return VideoRecord(
        id=spec.video_id,
        split=spec.split,
        rgb=rgb,
        encoding=spec.render.encoding,
        mask=mask,
        passes=passes or {},
        category=tuple(item.category for item in spec.objects),
        darkest=None if darkest is None else round(darkest, 3),
        scene=SceneRecord(
            spec=text,
            intrinsics=geometry.K,
            world_to_camera=geometry.to_camera,
            pose=poses,
            asset=tuple(item.mesh for item in spec.objects),
            baked=_baked(geometry),
        ),
        attributes={
            "seed": spec.seed,
            "attempt": spec.attempt,
            "vosforge": __version__,
            "renderer": renderer,
            "cpu": platform.processor() or platform.machine(),
            "credits": [asset.model_dump(mode="json") for asset in credited(spec, catalog)],
            RECORD: measured.model_dump(mode="json", exclude_defaults=True),
        },
    )


def credited(spec: SceneSpec, catalog: Catalog) -> list[Asset]:
    """All assets of a scene, those made for it included, by their hashes."""
    made = made_assets(spec)
    return [made.get(content) or catalog.by_hash(content) for content in sorted({*spec.assets, *made})]


def _baked(geometry: SceneGeometry) -> dict[str, np.ndarray]:
    physics = geometry.spec.physics
    if physics is None or physics.poses is None or geometry.simulated is None:
        return dict(geometry.cloths)
    return {physics.poses: geometry.simulated, **geometry.cloths}


def _deformation(geometry: SceneGeometry, recipe: str) -> dict[int, float]:
    """How far each object that changes its shape is from the best rigid fit, by its place."""
    changing = [k for k, item in enumerate(json.loads(recipe)["objects"]) if changes_shape(item)]
    if not changing:
        return {}
    times = np.unique(np.linspace(0, geometry.frames - 1, SHAPES).round().astype(int)).tolist()
    shapes: dict[int, list[np.ndarray]] = {k: [] for k in changing}
    for t in times:  # all objects of a frame at once: the geometry keeps one frame's vertices
        for k, found in shapes.items():
            vertices = geometry.vertices(k + 1, t)
            found.append(vertices[np.linspace(0, len(vertices) - 1, SHAPE_POINTS).round().astype(int)])
    return {k: misfit(np.stack(found)) for k, found in shapes.items()}
