"""As many objects deform as it says, visibly, and the others not at all."""

import numpy as np
import pytest

from assets.procedural import procedural_catalog
from assets.store import AssetStore
from blender_scenes.deforming import misfit
from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules import Modules
from blender_scenes.modules.deformation import Deforming
from blender_scenes.sample import PRESETS
from tests.blender_scenes.modules.test_modules import draw


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return AssetStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def catalog(store, paper_catalog):
    made = procedural_catalog(store, 12, 4, seed=3)
    return made + type(made)(assets=paper_catalog.of_kind("hdri"))


def misfits(scene, store):
    """How far each object's shape goes from that of frame 0."""
    geometry = SceneGeometry.load(scene, store)
    times = np.linspace(0, 1, 9)
    shapes = ([geometry.shaped(number, u) for u in times] for number in range(1, len(scene.objects) + 1))
    return [max(misfit(each[0], shape) for shape in each) for each in shapes]


def test_a_fifth_of_the_objects_deform_visibly_and_the_others_keep_their_shape(catalog, store):
    found = []
    for index in range(20):
        on, off = (draw(catalog, modules, index) for modules in (Modules(deformation=Deforming()), Modules()))
        for item, plain, moves in zip(on.objects, off.objects, misfits(on, store), strict=True):
            assert item.rigid == (item.traits == ()) == (item == plain)
            assert moves < 1e-5 if item.rigid else moves > 0.03
            found.append(moves)
        assert max(misfits(off, store)) < 1e-5
    found = np.array(found)
    # 20 scenes have about 70 objects: two standard deviations are 0.1.
    assert np.mean(found > 0.03) == pytest.approx(0.2, abs=0.1)
    assert np.median(found[found > 0.03]) > 0.1


def test_three_in_ten_objects_of_diverse_deform_or_are_articulated(paper_catalog):
    items = [item for index in range(150) for item in draw(paper_catalog, PRESETS["diverse"].modules, index).objects]
    # About 500 objects: two standard deviations are 0.04, and look-alikes come in groups.
    assert np.mean([not item.rigid for item in items]) == pytest.approx(0.3, abs=0.06)


def test_twice_as_large_a_share_deforms_the_same_objects_and_more(catalog):
    for index in range(20):
        few, many = (draw(catalog, Modules(deformation=Deforming(share=share)), index).objects for share in (0.2, 0.4))
        assert all(one == other for one, other in zip(few, many, strict=True) if not one.rigid)


def test_with_a_share_of_one_every_object_deforms_by_the_amounts_it_says(catalog):
    settings = Deforming(share=1.0, both=0.0, bend=(2.0, 2.0), twist=(3.0, 3.0), wave=(0.1, 0.1), period=(10, 20))
    kinds = set()
    for index in range(20):
        for item in draw(catalog, Modules(deformation=settings), index).objects:
            (kind,) = {"bend", "twist", "wave"} & item.traits[0].amounts.keys()
            kinds.add(kind)
            assert 10 <= item.traits[0].amounts[f"{kind}_period"] <= 20
    assert kinds == {"bend", "twist", "wave"}
