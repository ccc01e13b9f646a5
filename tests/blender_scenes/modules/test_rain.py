"""It rains in as many scenes, as hard and as windy as claimed, and by the scene's own time."""

import numpy as np
import pytest

from blender_scenes.modules import DIVERSE, Modules
from blender_scenes.modules.blur import Blur
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.rain import Rain
from blender_scenes.spec import SceneSpec
from blender_scenes.strides import every
from tests.blender_scenes.modules.test_modules import draw
from vosforge.seeding import rng_for


def test_it_rains_as_hard_as_claimed(paper_catalog):
    rains = []
    for n in range(20):
        on, off = (draw(paper_catalog, Modules(rain=rain), n) for rain in (Rain(share=1.0), None))
        assert on.model_dump(exclude={"rain", "traits"}) == off.model_dump(exclude={"rain", "traits"})
        assert SceneSpec.model_validate_json(on.model_dump_json()) == on and '"rain"' not in off.model_dump_json()
        rains.append(on.rain)
        assert amounts_of(on, "rain")["intensity"] == pytest.approx(on.rain.intensity, abs=0.01)
        assert on.rain.rate == 24 and on.rain.exposure == pytest.approx(1 / 60)
    hard, bright = np.array([(rain.intensity, rain.brightness) for rain in rains]).T
    assert hard.min() >= 15 and hard.max() <= 80 and hard.max() > 3 * hard.min()
    assert bright.min() >= 8 and bright.max() <= 24
    wind = np.linalg.norm([rain.wind for rain in rains], axis=1)
    assert wind.max() <= 4 and np.ptp(wind) > 2


def test_it_rains_in_a_share_of_scenes(paper_catalog):
    base = draw(paper_catalog, Modules(), 0)
    wet = [Rain().draw(base, rng_for("rain", n), paper_catalog).rain is not None for n in range(1000)]
    assert np.mean(wet) == pytest.approx(0.3, abs=0.05)
    assert DIVERSE.rain is None


def test_drops_fall_by_the_time_of_the_scenes_physics_and_smear_as_long_as_its_shutter_is_open(paper_catalog):
    modules = Modules(physics=Physics(share=1.0), blur=Blur(share=1.0), rain=Rain(share=1.0))
    longest = 0.0
    for n in range(20):
        scene = draw(paper_catalog, modules, n)
        rate = scene.physics.rate if scene.physics else 24
        assert scene.rain.rate == rate
        assert scene.rain.exposure == pytest.approx(max(1 / 60, scene.camera.shutter / rate))
        longest = max(longest, scene.rain.exposure)
        clip = every(3, scene)
        assert clip.rain.rate * 3 == pytest.approx(rate) and clip.rain.exposure == scene.rain.exposure
    assert longest > 1 / 50
