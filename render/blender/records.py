"""Builds the record of a rendered video from its scene and pixels."""

import platform

import numpy as np

from assets.catalog import Asset, Catalog
from blender_scenes.geometry import SceneGeometry
from blender_scenes.making import made_assets
from blender_scenes.spec import SceneSpec
from vosforge import __version__
from vosforge.videos.format import SceneRecord, VideoRecord


def video_record(
    geometry: SceneGeometry,
    catalog: Catalog,
    rgb: tuple[bytes, ...],
    mask: np.ndarray,
    darkest: float | None,
    renderer: str,
    passes: dict[str, np.ndarray] | None = None,
) -> VideoRecord:
    """The record of the video of ``geometry``'s scene.

    ``rgb``: its T encoded frames, empty without colours; ``mask``: uint8 ``[T, H, W]``; ``darkest``: the lowest mean
    brightness of a frame, 0 to 255, None without colours; ``renderer``: the renderer's name; ``passes``: the data
    sets of its optional passes. Raises VOSForgeError when ``catalog`` lacks one of the scene's assets.
    """
    spec, T = geometry.spec, geometry.frames
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
            spec=spec.model_dump_json(),
            intrinsics=np.tile(geometry.K, (T, 1, 1)),
            world_to_camera=geometry.to_camera,
            pose=np.stack([poses[1] for poses in geometry.poses[: len(spec.objects)]], axis=1),
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
        },
    )


def credited(spec: SceneSpec, catalog: Catalog) -> list[Asset]:
    """All assets of a scene, those made for it included, by their hashes."""
    made = made_assets(spec)
    return [made.get(content) or catalog.by_hash(content) for content in sorted({*spec.assets, *made})]


def _baked(geometry: SceneGeometry) -> dict[str, np.ndarray]:
    physics = geometry.spec.physics
    if physics is None or physics.poses is None or geometry.simulated is None:
        return {}
    return {physics.poses: geometry.simulated}
