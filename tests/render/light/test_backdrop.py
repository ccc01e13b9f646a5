"""The backdrop that is laid under a frame, against rays, against OpenCV-free arithmetic and against real renders."""

import cv2
import numpy as np
import pytest

from blender_scenes.geometry import SceneGeometry
from blender_scenes.object_spec import Curve
from blender_scenes.sample import PRESETS, sample_scene
from blender_scenes.spec import AtmosphereSpec, LensSpec, LookAtMotion, RainSpec, RenderSettings, WorldSpec
from blender_scenes.trajectories import camera_poses, intrinsics
from render.farm.events import Done
from render.farm.process import BlenderProcess
from render.light.backdrop import Backdrop
from render.light.rain import farthest
from tests.render.blender.test_engine import job
from tests.render.conftest import MIRROR
from vosforge.videos import ShardSet

SETTINGS = RenderSettings(width=96, height=64, frames=4, samples=2)


def backdrop_of(spec, store):
    return Backdrop.of(SceneGeometry.load(spec, store), store)


def scenes(catalog, count):
    """Scenes of BL30K's kind: all have an emissive backdrop, some have objects out of sight."""
    return [sample_scene(PRESETS["bl30k"], SETTINGS, catalog, seed=3, index=n, split="train") for n in range(count)]


def test_the_light_is_the_texture_where_each_pixels_ray_meets_the_plane(store, catalog):
    for spec in scenes(catalog, 3):
        plane, backdrop = spec.backdrop, backdrop_of(spec, store)
        assert plane is not None and backdrop is not None
        image = cv2.imread(str(store.image_path(plane.texture)))[:, :, ::-1] / 255
        size = np.array(image.shape[1::-1])
        linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
        for t in (0, 3):
            light = backdrop.light(t)
            assert light.shape == (64, 96, 3) and light.dtype == np.float32
            to_world = np.linalg.inv(camera_poses(spec.camera, SETTINGS.frames)[t])
            inverse = np.linalg.inv(intrinsics(spec.camera, 96, 64, 2)[0])
            for x, y in ((0, 0), (95, 0), (10, 50), (48, 32), (95, 63)):
                ray = to_world[:3, :3] @ inverse @ [x + 0.5, y + 0.5, 1]
                point = to_world[:3, 3] + ray * (plane.offset - to_world[1, 3]) / ray[1]
                uv = (point[[0, 2]] / plane.size + 0.5) * plane.repeat
                uv = np.abs((uv + 1) % 2 - 1)  # mirrored copies
                column, row = (np.array([uv[0], 1 - uv[1]]) * size).astype(int)
                # A pixel sees a neighbourhood of texels; its light lies between theirs.
                reach = int(np.ceil(size[0] * 40 / 96 / plane.size)) + 2
                near = linear[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
                low, high = near.min(axis=(0, 1)) * plane.emission, near.max(axis=(0, 1)) * plane.emission
                assert (light[y, x] >= low - 1e-3).all() and (light[y, x] <= high + 1e-3).all()


def test_only_a_plane_that_alone_fills_the_frame_is_laid_under(store, catalog):
    spec = scenes(catalog, 1)[0]
    assert spec.backdrop is not None and backdrop_of(spec, store) is not None
    lit = WorldSpec(hdri="0" * 32, turn=0.0, strength=1.0)
    assert backdrop_of(spec.model_copy(update={"world": lit}), store) is not None, "surroundings behind it are not seen"
    near = spec.backdrop.model_copy(update={"offset": 0.0})
    small = spec.backdrop.model_copy(update={"size": 2.0})
    matt = spec.backdrop.model_copy(update={"emission": 0.0})
    camera = spec.camera
    for change in (
        {"backdrop": None},
        {"backdrop": near},
        {"backdrop": small},
        {"backdrop": matt},
        {"ground": spec.backdrop},
        {"walls": (spec.backdrop,)},
        {"mirrors": (MIRROR,)},
        {"atmosphere": AtmosphereSpec(density=0.1, color=(1, 1, 1))},
        {"camera": camera.model_copy(update={"lens": LensSpec(f_number=1.0, focus=(5.0,))})},
        {"camera": camera.model_copy(update={"shutter": 0.5})},
    ):
        assert backdrop_of(spec.model_copy(update=change), store) is None, change


def test_a_backdrop_in_the_rain_is_laid_where_all_drops_fall_before_it(store, catalog):
    spec, rain = scenes(catalog, 1)[0], RainSpec(intensity=20.0, brightness=10.0)
    still = LookAtMotion(location=Curve(axes=((0.0,),) * 3), look_at=Curve(axes=((0.0,), (4.0,), (0.0,))))
    spec = spec.model_copy(update={"camera": spec.camera.model_copy(update={"motion": still}), "lights": ()})
    reach = farthest(SceneGeometry(spec, {}))[1]
    for beyond, laid in ((0.1, True), (-0.1, False)):
        plane = spec.backdrop.model_copy(update={"offset": reach + beyond})
        dry = spec.model_copy(update={"backdrop": plane})
        assert backdrop_of(dry, store) is not None
        assert (backdrop_of(dry.model_copy(update={"rain": rain}), store) is not None) == laid


@pytest.mark.blender
def test_a_laid_backdrop_looks_like_a_rendered_one(store, catalog, tmp_path):
    many = SETTINGS.model_copy(update={"samples": 64, "denoise": False, "encoding": "png", "frames": 2})
    with BlenderProcess(tmp_path / "blender.log") as blender:
        for n, spec in enumerate(scenes(catalog, 3)):
            videos = []
            for laid in (True, False):
                each = spec.model_copy(update={"render": many.model_copy(update={"lay_backdrop": laid})})
                folder = tmp_path / f"{n}-{laid}"
                events = list(blender.run(job(each, store, catalog, folder) | {"gates": False}))
                assert isinstance(events[-1], Done), events[-1]
                videos.append(ShardSet(folder / f"{spec.video_id}.h5").video(spec.video_id))
            laid, rendered = videos
            assert np.array_equal(laid.masks(), rendered.masks())
            for t in range(2):
                near = cv2.dilate((rendered.mask(t) > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
                difference = laid.frame(t).astype(float) - rendered.frame(t)
                assert abs(difference[~near].mean()) < 0.5 and difference[~near].std() < 8  # 64 samples leave noise
                if near.any():
                    assert abs(difference[near].mean()) < 1.5 and difference[near].std() < 12
