"""Light as it is claimed: how many scenes get which, how bright and how coloured it is."""

import numpy as np
import pytest

from blender_scenes.modules import Modules
from blender_scenes.modules.light import CENTRE, Light
from blender_scenes.modules.marks import amounts_of
from tests.blender_scenes.modules.test_modules import draw
from vosforge import InputError
from vosforge.config import read_config
from vosforge.seeding import rng_for


def drawn(catalog, number=20, **settings):
    modules = Modules(light=Light(**settings))
    scenes = [(draw(catalog, modules, n), draw(catalog, Modules(), n)) for n in range(number)]
    return [(on, off, amounts_of(on, "light")) for on, off in scenes]


def alone(kind, **more):
    return {name: float(name == kind) for name in ("sun", "panels", "colored", "night")} | more


def paper(panel):
    """The brightness of white paper at the centre that faces a panel, seen from far (E / pi; E = I / d^2)."""
    distance = np.linalg.norm(np.subtract(panel.location, CENTRE))
    return panel.energy / np.pi / distance**2 / np.pi


def test_shares_of_scenes_get_each_light(paper_catalog):
    base = draw(paper_catalog, Modules(), 0)
    lit = [Light().draw(base, rng_for("light", n), paper_catalog) for n in range(600)]
    kinds = [amounts and amounts["kind"] for amounts in (amounts_of(scene, "light") for scene in lit)]
    for kind, share in (("sun", 0.25), ("panels", 0.2), ("colored", 0.15), ("night", 0.055), (None, 0.345)):
        assert np.mean([each == kind for each in kinds]) == pytest.approx(share, abs=3 * np.sqrt(share / 600))
    with pytest.raises(InputError, match="add up to more than 1"):
        read_config(Light, overrides={"sun": 0.9, "night": 0.2})


def test_only_light_changes(paper_catalog):
    for on, off, _ in drawn(paper_catalog):
        lights = {"lights", "suns", "panels", "world", "backdrop", "traits"}
        assert on.model_dump(exclude=lights) == off.model_dump(exclude=lights)


def test_a_sun_is_as_bright_and_as_high_as_asked_for_and_shines_on_what_stands_before_a_backdrop(paper_catalog):
    for on, off, amounts in drawn(paper_catalog, **alone("sun", sun_brightness=(0.6, 1.8), sun_height=(0.2, 0.5))):
        [sun] = on.suns
        assert np.linalg.norm(sun.toward) == pytest.approx(1.0)
        assert 0.2 <= np.arcsin(sun.toward[2]) <= 0.5 and 0.6 <= sun.strength / np.pi <= 1.8
        assert on.world.strength == pytest.approx(off.world.strength * amounts["dimmed"])
        assert on.backdrop is None or sun.toward[1] < 0
        assert not on.excuses


@pytest.mark.parametrize("kind", ["panels", "colored"])
def test_panels_are_as_bright_and_as_coloured_as_asked_for(paper_catalog, kind):
    for on, _, amounts in drawn(paper_catalog, **alone(kind, panel_brightness=(0.5, 1.4))):
        assert sum(map(paper, on.panels)) * 1.0000001 >= 0.5 and sum(map(paper, on.panels)) <= 1.4000001
        assert len(on.panels) == amounts["panels"] and not on.lights
        for panel in on.panels:
            strong = 1 - min(panel.color) / max(panel.color)
            assert strong > 0.5 if kind == "colored" else strong < 0.5
            assert panel.location[2] >= CENTRE[2] and panel.location[1] <= CENTRE[1]


def test_nights_are_dark_and_may_be_black(paper_catalog):
    for on, off, amounts in drawn(paper_catalog, **alone("night", night_level=(0.02, 0.06))):
        assert 0.02 <= amounts["level"] <= 0.06 and on.excuses == {"black", "flat"}
        assert on.world.strength == pytest.approx(off.world.strength * amounts["level"])
        if off.backdrop is not None:
            assert on.backdrop.emission == pytest.approx(off.backdrop.emission * amounts["level"])
        assert on.panels and all(paper(panel) <= 0.35 for panel in on.panels) and not on.lights
