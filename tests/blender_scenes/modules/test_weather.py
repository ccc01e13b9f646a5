"""Weather and exposure as they are claimed: in how many scenes, how dense, how far the exposure drifts."""

import numpy as np
import pytest

from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules import Modules
from blender_scenes.modules.exposure import Exposure
from blender_scenes.modules.light import Light
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.weather import Weather
from blender_scenes.spec import SceneSpec
from tests.blender_scenes.modules.test_modules import draw
from vosforge.seeding import rng_for


def test_night_fog_and_drift_are_in_fifteen_percent_of_scenes(paper_catalog):
    base, hard = draw(paper_catalog, Modules(), 0), []
    for n in range(2000):
        made = [module.draw(base, rng_for(name, n), paper_catalog) for name, module in MODULES.items()]
        kinds = [scene.atmosphere is not None or scene.drift is not None or bool(scene.excuses) for scene in made]
        hard.append(any(kinds))
    assert np.mean(hard) == pytest.approx(0.15, abs=0.03)


MODULES = {"light": Light(), "weather": Weather(), "exposure": Exposure()}


def test_fog_leaves_five_percent_of_contrast_at_the_visibility(paper_catalog):
    found = []
    for n in range(20):
        off = draw(paper_catalog, Modules(), n)
        on = draw(paper_catalog, Modules(weather=Weather(fog=1.0, visibility=(15.0, 70.0))), n)
        assert on.model_dump(exclude={"atmosphere", "traits"}) == off.model_dump(exclude={"atmosphere", "traits"})
        visibility = amounts_of(on, "weather")["visibility"]
        assert np.exp(-on.atmosphere.density * visibility) == pytest.approx(0.05)
        assert on.excuses == {"flat"}
        found.append(visibility)
    assert min(found) >= 15 and max(found) <= 70 and max(found) > 2 * min(found)


def test_fog_at_night_is_dark(paper_catalog):
    dark = Modules(light=Light(sun=0, panels=0, colored=0, night=1.0), weather=Weather(fog=1.0))
    for n in range(20):
        night, day = (draw(paper_catalog, each, n) for each in (dark, Modules(weather=Weather(fog=1.0))))
        assert max(night.atmosphere.color) < 0.1 < max(day.atmosphere.color)
        assert night.traits[-1] == day.traits[-1], "what fog draws does not depend on the light"


def test_the_exposure_drifts_as_far_as_asked_for(paper_catalog):
    for n in range(20):
        module = Exposure(drift=1.0, stops=(0.8, 2.5), balance=(0.2, 0.8))
        on, off = draw(paper_catalog, Modules(exposure=module), n), draw(paper_catalog, Modules(), n)
        assert SceneSpec.model_validate_json(on.model_dump_json()) == on
        assert on.model_dump(exclude={"drift", "traits"}) == off.model_dump(exclude={"traits"})
        stops = np.log2(SceneGeometry(on, {}).gains)
        amounts = amounts_of(on, "exposure")
        assert 0.8 <= amounts["stops"] <= 2.5 and 0.2 <= amounts["balance"] <= 0.8
        assert np.ptp(stops[:, 1]) == pytest.approx(amounts["stops"])
        assert np.ptp(stops[:, 0] - stops[:, 2]) == pytest.approx(amounts["balance"])
        assert np.abs(np.diff(stops[:, 1])).max() < 0.6 * amounts["stops"], "it drifts, it does not jump"
        assert np.array_equal(SceneGeometry(off, {}).gains, np.ones((24, 3)))
