"""Pans, pushes, shake and blur as they are claimed: how far the camera turns and goes, how far things smear."""

import numpy as np
import pytest

from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules import DIVERSE, Modules
from blender_scenes.modules.blur import Blur, fastest
from blender_scenes.modules.camera import Camera
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.paths import Paths
from blender_scenes.modules.shake import Shake
from blender_scenes.modules.sizes import Sizes
from blender_scenes.modules.view import View
from blender_scenes.trajectories import camera_poses
from tests.blender_scenes.modules.test_modules import draw
from vosforge.seeding import rng_for

FRAMES = 24
ZOOM = Camera(pan=0.0, push=0.0, zoom=1.0, doublings=(1.5, 1.5))


def pairs(catalog, **modules):
    """20 draws with modules and without them."""
    return [(draw(catalog, Modules(**modules), n), draw(catalog, Modules(), n)) for n in range(20)]


def cameras(scene):
    return np.linalg.inv(camera_poses(scene.camera, FRAMES))


def same_but_for_the_camera(on, off):
    return on.model_dump(exclude={"camera", "traits"}) == off.model_dump(exclude={"camera", "traits"})


def test_a_pan_turns_the_camera_by_its_angle(paper_catalog):
    for on, off in pairs(paper_catalog, camera=Camera(pan=1.0, angle=(0.15, 0.7))):
        yaws = [np.unwrap(np.arctan2(*cameras(scene)[:, [1, 0], 2].T)) for scene in (on, off)]
        turned = np.ptp((yaws[0] - yaws[1])[[0, -1]])
        amount = amounts_of(on, "camera")["amount"]
        assert turned == pytest.approx(abs(amount), abs=1e-6) and 0.15 <= turned <= 0.7
        assert np.allclose(cameras(on)[:, :3, 3], cameras(off)[:, :3, 3], atol=0.02), "it stays where it was"
        assert same_but_for_the_camera(on, off)


def test_a_push_moves_the_camera_by_its_length(paper_catalog):
    ways = []
    for on, off in pairs(paper_catalog, camera=Camera(pan=0.0, push=1.0, forward=(-4.0, 1.5))):
        last, usual = cameras(on)[-1], cameras(off)[-1]
        ways.append((last[:3, 3] - usual[:3, 3]) @ usual[:3, 2])
        assert ways[-1] == pytest.approx(amounts_of(on, "camera")["amount"])
        assert np.allclose(cameras(on)[0], cameras(off)[0], atol=1e-6) and same_but_for_the_camera(on, off)
    assert min(ways) < -1 and max(ways) > 0.3


def test_a_zoom_changes_the_focal_length_by_its_doublings_and_objects_stay_where_they_are(paper_catalog):
    amounts = []
    for on, off in pairs(paper_catalog, camera=Camera(pan=0.0, push=0.0, zoom=1.0, doublings=(-1.0, 1.5))):
        focal, usual = (SceneGeometry(scene, {}).K[:, 0, 0] for scene in (on, off))
        amounts.append(amounts_of(on, "camera")["amount"])
        assert np.log2(focal[-1] / focal[0]) == pytest.approx(amounts[-1])
        assert focal[FRAMES // 2 - 1 : FRAMES // 2 + 1].mean() == pytest.approx(usual[0], rel=0.01)
        assert (np.diff(focal) * np.sign(amounts[-1]) >= 0).all() and np.ptp(usual) == 0
        assert np.array_equal(cameras(on), cameras(off)) and same_but_for_the_camera(on, off)
        assert "zoom" not in off.model_dump_json()
    assert min(amounts) < -0.3 and 1 < max(amounts) <= 1.5


def test_objects_are_placed_in_what_a_zooming_camera_sees(paper_catalog):
    """At the sizes that are drawn for them, whatever the focal length is."""
    sizes, modules = [], {"sizes": Sizes(), "paths": Paths()}
    for on, off in zip(
        *([draw(paper_catalog, Modules(camera=camera, **modules), n) for n in range(20)] for camera in (ZOOM, None)),
        strict=True,
    ):
        areas = [[View(scene).radius(item).mean() for item in scene.objects] for scene in (on, off)]
        sizes += list(np.log(areas[0]) - np.log(areas[1]))
    assert np.abs(np.mean(sizes)) < 0.05 and np.std(sizes) < 0.3


def test_a_shaken_image_moves_by_so_many_pixels(paper_catalog):
    """A point that the steady camera keeps in the middle, far enough away for the camera's own sway not to count."""
    ratios = []
    for on, off in pairs(paper_catalog, shake=Shake(share=1.0, pixels=(1.0, 6.0), sway=0.0)):
        far = cameras(off)[:, :3, 3] + 9 * cameras(off)[:, :3, 2]
        place = np.einsum("tij,tj->ti", np.linalg.inv(cameras(on))[:, :3, :], np.c_[far, np.ones(FRAMES)])
        geometry = SceneGeometry(on, {})
        pixels = np.linalg.norm(place[:, :2] / place[:, 2:] * geometry.K[0, 0, 0], axis=1) * 480 / geometry.size[0]
        amount = amounts_of(on, "shake")["pixels"]
        assert 1.0 <= amount <= 6.0 and same_but_for_the_camera(on, off)
        ratios.append(np.sqrt(np.square(pixels).mean()) / amount)
    assert np.sqrt(np.square(ratios).mean()) == pytest.approx(1.0, abs=0.1)
    assert min(ratios) > 0.5 and max(ratios) < 1.5


def test_blur_is_as_long_as_asked_for_unless_all_objects_are_slow(paper_catalog):
    long = 0
    for n in range(20):
        off, on = (
            draw(paper_catalog, Modules(paths=Paths(), blur=blur), n)
            for blur in (None, Blur(share=1.0, length=(6.0, 30.0)))
        )
        length = amounts_of(on, "blur")["length"]
        assert 6 <= length <= 30 and same_but_for_the_camera(on, off)
        blurred = on.camera.shutter * fastest(on)
        assert blurred == pytest.approx(min(length, fastest(off)))
        assert 0 < on.camera.shutter <= 1
        long += blurred > 5
    assert long >= 14


def test_a_quarter_of_scenes_is_blurred_by_more_than_five_pixels(paper_catalog):
    """All modules but those of objects that do not move them."""
    modules = DIVERSE.model_copy(update={"distractors": None, "camouflage": None, "occluders": None, "blur": None})
    scenes = [draw(paper_catalog, modules, n) for n in range(60)]
    drawn = [Blur().draw(scene, rng_for("blur", n), paper_catalog) for n, scene in enumerate(scenes * 5)]
    lengths = [scene.camera.shutter * fastest(scene) if scene.camera.shutter else 0.0 for scene in drawn]
    assert np.mean(np.array(lengths) > 5) == pytest.approx(0.25, abs=0.075)
