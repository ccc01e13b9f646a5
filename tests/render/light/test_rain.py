"""Drops fall through space from frame to frame, are as many as rain has, and are hidden by what is nearer."""

import numpy as np
import pytest

from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules import Modules
from blender_scenes.modules.camera import Camera
from blender_scenes.spec import AtmosphereSpec, LensSpec, RainSpec
from render.light.rain import HALF, LARGEST, SMALLEST, Rain, drops_per_volume, terminal_speed
from tests.blender_scenes.modules.test_modules import draw

SIDE = 2 * HALF
RAIN = RainSpec(intensity=20.0, wind=(2.0, -1.0), brightness=10.0)
NOTHING = np.zeros((256, 384), np.float32)


def scene(catalog, index, rain=RAIN, **changes):
    moving = Modules(camera=Camera(push=1.0, pan=0.5))
    return draw(catalog, moving, index, "basic").model_copy(update={"rain": rain} | changes)


def fallen(spec):
    return Rain(SceneGeometry(spec, {}), spec.rain)


def test_drops_move_on_by_their_velocity_in_a_cube_that_goes_with_the_camera(catalog):
    for index in range(20):
        spec = scene(catalog, index)
        rain, geometry = fallen(spec), SceneGeometry(spec, {})
        for t in (0, 11, 22):
            here, there = rain.at(t), rain.at(t + 1)
            step = (there - here - rain.velocities / 24) / SIDE
            assert np.allclose(step, np.round(step), atol=1e-9), "or come in again on the other side"
            assert (np.abs(np.round(step)).max(axis=1) == 0).mean() > 0.8
            to_world = np.linalg.inv(geometry.to_camera[t])
            assert np.abs(here - to_world[:3, 3] - 4.5 * to_world[:3, 2]).max() <= HALF + 1e-9
            assert np.array_equal(there, fallen(spec).at(t + 1)), "any frame by itself"
        falling = -rain.velocities[:, 2]
        assert 5 < falling.min() < 7 and 8.5 < falling.max() < 9.3
        assert np.allclose(rain.velocities[:, :2].mean(axis=0), RAIN.wind, atol=0.02)
    other = fallen(scene(catalog, 0).model_copy(update={"attempt": 1}))
    assert not np.array_equal(other.places, fallen(scene(catalog, 0)).places)


def test_there_are_as_many_drops_as_rain_of_that_intensity_has(catalog):
    sizes = np.linspace(SMALLEST, LARGEST, 10_001)
    for intensity in (2.0, 10.0, 50.0, 100.0):
        # Marshall and Palmer: N0 = 8000 a cubic metre and millimetre, exp(-4.1 R^-0.21 D).
        spread = 8000 * np.exp(-4.1 * intensity**-0.21 * 1000 * sizes)
        assert drops_per_volume(intensity) == pytest.approx(spread.mean() * 1000 * (LARGEST - SMALLEST), rel=1e-3)
        rain = fallen(scene(catalog, 0, RainSpec(intensity=intensity, brightness=10.0)))
        assert len(rain.places) == pytest.approx(drops_per_volume(intensity) * SIDE**3, abs=1)
        mean = np.average(sizes, weights=spread)
        assert rain.diameters.mean() == pytest.approx(mean, rel=0.03)
    # Gunn and Kinzer's measurements (1949): 6.49, 8.06 and 9.09 m/s.
    assert terminal_speed(np.array([0.002, 0.003, 0.005])) == pytest.approx([6.49, 8.06, 9.09], rel=0.03)


def test_streaks_are_where_the_camera_sees_the_drops_during_the_exposure(catalog):
    for index in range(6):
        spec = scene(catalog, index)
        rain, geometry = fallen(spec), SceneGeometry(spec, {})
        streaks, t = rain.streaks(5), 5
        assert (streaks.z > 0.4).all()

        def seen(seconds, rain=rain, geometry=geometry, t=t):
            places = rain.at(t) + seconds * rain.velocities
            camera = places @ geometry.to_camera[t, :3, :3].T + geometry.to_camera[t, :3, 3]
            pixels = camera @ geometry.K[t].T
            return pixels[:, :2] / pixels[:, 2:], camera[:, 2]

        (start, _), (middle, z), (end, _) = (seen(seconds) for seconds in (-1 / 120, 0, 1 / 120))
        inside = (z > 1) & (middle > 0).all(axis=1) & (middle < [384, 256]).all(axis=1)
        numbers = [np.flatnonzero(np.isclose(streaks.z, each, rtol=1e-12))[0] for each in z[inside]]
        assert len(numbers) > 300
        assert np.allclose(streaks.start[numbers], start[inside]) and np.allclose(streaks.end[numbers], end[inside])
        widths = rain.diameters[inside] * geometry.K[t, 0, 0] / z[inside]
        areas = streaks.area[numbers] / (np.pi / 4 * widths**2)
        assert areas.max() <= 1 + 1e-9 and np.mean(areas > 0.999) > 0.4, "those near the cube's sides fade"


def test_rain_covers_as_much_as_its_drops_do(catalog):
    for index in range(4):
        rain = fallen(scene(catalog, index))
        streaks = rain.streaks(3)
        ends = np.stack([streaks.start, streaks.end])
        ends = ends[:, streaks.area > 0]
        within = ((ends > 20) & (ends < np.array([384, 256]) - 20)).all(axis=(0, 2))
        cover = rain.cover(NOTHING, 3)
        assert cover.shape == (256, 384) and 0 < cover.max() < 0.2
        assert cover[20:-20, 20:-20].sum() > 0.8 * streaks.area[streaks.area > 0][within].sum()
        assert cover.sum() < streaks.area.sum()
        assert np.median(cover) > 0, "far drops are less than a pixel, and there"


def test_drops_behind_something_are_hidden(catalog):
    rain = fallen(scene(catalog, 1))
    whole = rain.cover(NOTHING, 0)
    left = NOTHING.copy()
    left[:, :192] = 0.3
    half = rain.cover(left, 0)
    assert not half[:, :150].any() and np.array_equal(half[:, 235:], whole[:, 235:])
    covered = [rain.cover(np.full_like(NOTHING, z), 0).sum() for z in (0.3, 1, 2, 4, 8, 1e10)]
    assert covered[0] == 0 and np.all(np.diff(covered) > 0)
    assert covered[-1] == pytest.approx(whole.sum())


def test_rain_is_lighter_than_what_is_behind_it_and_no_sun_outshines_it(catalog):
    rain = fallen(scene(catalog, 1))
    grey = np.full((256, 384, 3), 0.2, np.float32)
    cover = rain.cover(NOTHING, 0)[:, :, None]
    assert np.allclose(rain.over(grey, NOTHING, 0), grey + cover * 9 * grey, atol=1e-5)
    sun = grey.copy()
    sun[9, 9] = 1e5
    assert np.abs(rain.over(sun, NOTHING, 0) - rain.over(grey, NOTHING, 0))[20:].max() < 0.02
    dark = np.zeros_like(grey)
    assert not rain.over(dark, NOTHING, 0).any()


def test_more_rain_covers_more_and_fog_and_wide_lenses_hide_drops(catalog):
    covers = [
        fallen(scene(catalog, 2, RAIN.model_copy(update={"intensity": intensity}))).cover(NOTHING, 0).mean()
        for intensity in (5.0, 20.0, 80.0)
    ]
    ratios = np.array([drops_per_volume(each) for each in (5.0, 20.0, 80.0)]) / covers
    assert np.all(np.diff(covers) > 0) and np.ptp(ratios) < 0.5 * ratios.mean()
    spec = scene(catalog, 2)
    clear = fallen(spec).streaks(0)
    foggy = fallen(spec.model_copy(update={"atmosphere": AtmosphereSpec(density=0.2, color=(1, 1, 1))})).streaks(0)
    assert np.allclose(foggy.area, clear.area * np.exp(-0.2 * clear.z))
    lens = spec.camera.model_copy(update={"lens": LensSpec(f_number=1.0, focus=(6.0,))})
    wide = fallen(spec.model_copy(update={"camera": lens})).streaks(0)
    assert np.array_equal(wide.area, clear.area) and wide.blur.mean() > 2 * clear.blur.mean()
