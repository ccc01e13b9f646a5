"""Pairs of renders of one draw, with and without a module of objects: what differs in labels is what it claims."""

import itertools

import numpy as np
import pytest

from blender_scenes.geometry import SceneGeometry, moved
from blender_scenes.modules.articulation import Articulated
from blender_scenes.modules.camouflage import Camouflage
from blender_scenes.modules.cloth import HELD_BY, Cloth
from blender_scenes.modules.contact import Contact
from blender_scenes.modules.deformation import Deforming
from blender_scenes.modules.distractors import Distractors
from blender_scenes.modules.lookalikes import Lookalikes
from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.occluders import Occluders
from blender_scenes.modules.paths import Paths
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.rooms import Rooms
from blender_scenes.modules.shapes import Shapes
from blender_scenes.modules.sizes import Sizes
from vosforge.amounts import absences, centroids, contrast, misfit

pytestmark = pytest.mark.blender

OBJECTS = (1, 2, 3)


def areas(masks):
    """Pixels of each object: ``[T, K]``."""
    return np.stack([(masks == k).sum(axis=(1, 2)) for k in OBJECTS], axis=1)


def outlines(spec, store):
    """The vertices of each object in the world at each frame: ``[T, V, 3]``."""
    geometry, last = SceneGeometry.load(spec, store), spec.render.frames - 1
    return [
        np.stack([moved(geometry.shaped(k, t / last), geometry.poses[k - 1][1, t]) for t in range(last + 1)])
        for k in OBJECTS
    ]


QUICK = (2.0, 3.0)


@pytest.mark.parametrize(
    "module",
    [{"deformation": Deforming(share=1.0, period=QUICK)}, {"articulation": Articulated(share=1.0, period=QUICK)}],
)
def test_shapes_change_over_time(label, store, module):
    """Vertices, as no similarity explains; and masks, from those of the same objects held stiff."""

    def misfits(spec):
        geometry = SceneGeometry.load(spec, store)
        return [misfit(np.stack([geometry.shaped(k, u) for u in (0.0, 1.0)])) for k in OBJECTS]

    def stiff(spec):
        held = tuple(item.model_copy(update={"deformation": None, "joints": ()}) for item in spec.objects)
        return spec.model_copy(update={"objects": held})

    spec, on, _ = label(0, **module)
    plain, off, _ = label(0, change=stiff, **module)
    assert max(misfits(plain)) < 1e-6 and min(misfits(spec)) > 0.03
    assert (on[1] != off[1]).sum() > 0.1 * (on[1] > 0).sum()


def test_cloth(show):
    """One object is another thing that changes its shape; the others are as they were."""
    _, off, before = show(3)
    spec, on, masks = show(3, cloth=Cloth(share=1.0, two=0.0, sheet=0.0))
    (number,) = (k for k, item in enumerate(spec.objects, start=1) if item.cloth)
    assert spec.objects[number - 1].category in HELD_BY and (masks == number).any()
    assert ((masks == before) | (masks == number) | (before == number) | (masks == 0)).all()
    assert (np.abs(on - off).max(axis=3)[masks == number] > 20).mean() > 0.5


def test_shapes_that_no_catalog_has(label, catalog):
    known = {asset.hash for asset in catalog.of_kind("mesh")}
    plain, off, _ = label(0)
    spec, on, _ = label(0, shapes=Shapes(share=1.0))
    assert all(item.mesh in known for item in plain.objects) and not any(item.mesh in known for item in spec.objects)
    for k in OBJECTS:
        one, other = on == k, off == k
        assert (one & other).sum() < 0.8 * (one | other).sum()


def test_lookalikes(show):
    """Two labels more of one model, in colours nearer to the original's than those of the objects they replace."""
    plain, off, masks = show(3)
    spec, on, alike = show(3, lookalikes=Lookalikes(none=0.0, few=1.0, few_numbers=(2, 2), labelled=1.0))
    assert len({item.mesh for item in plain.objects}) == 3 and len({item.mesh for item in spec.objects}) == 1
    assert set(np.unique(alike)) == {0, *OBJECTS}

    def apart(frames, labels):
        colors = [frames[labels == k].mean(axis=0) for k in OBJECTS]
        return np.mean([np.linalg.norm(one - other) for one, other in itertools.combinations(colors, 2)])

    assert apart(on, alike) < 0.65 * apart(off, masks)


def test_distractors(show):
    """Labels are as before, but for what is hidden; elsewhere something else is seen."""
    _, off, masks = show(3)
    spec, on, partly = show(3, distractors=Distractors(share=1.0, mean=4.0))
    assert spec.distractors and len(spec.objects) == 3
    assert ((partly == masks) | (partly == 0)).all()
    background = (masks == 0) & (partly == 0)
    assert (np.abs(on - off).max(axis=3)[background] > 20).mean() > 0.02


def test_sizes(label):
    """Objects cover what was drawn for them, and as many times more or less at the end."""
    _, off, _ = label(3)
    changing = Sizes(small=0.1, tiny=0.01, thin=0.0, change=1.0, changes=(2.5, 2.5))
    spec, on, visible = label(3, sizes=changing)
    drawn = [amounts_of(item, "sizes") for item in spec.objects]
    whole = areas(on) / np.maximum(visible, 1e-3) / on[0].size
    share = np.exp(np.log(whole).mean(axis=0))
    wanted = np.array([each["share"] for each in drawn])
    assert np.abs(np.log2(share / wanted)).max() < 1.2
    assert np.log2(whole[1] / whole[0]) == pytest.approx([each["doublings"] for each in drawn], abs=1.2)
    before = np.log2(areas(off)[1] / areas(off)[0])
    assert np.abs(before).max() < 1.5


def test_paths(label):
    """An object is absent in a frame after it was seen, and returns."""
    _, off, _ = label(3, frames=12)
    spec, on, _ = label(3, frames=12, paths=Paths(median=15.0, absent=1.0, returning=1.0, behind=0.0))
    assert not any(each.gaps or each.gone for each in absences(areas(off) > 0))
    found = absences(areas(on) > 0)
    assert any(each.gaps for each in found)
    for item, each in zip(spec.objects, found, strict=True):
        assert bool(each.gaps) <= bool(amounts_of(item, "paths")["absent"])


def test_camouflage(show):
    """Objects differ less in colour from the ring around them."""
    _, off, masks = show(3)
    spec, on, same = show(3, camouflage=Camouflage(share=1.0))
    assert np.array_equal(same, masks)
    assert {item.texture for item in spec.objects} == {(spec.backdrop or spec.ground).texture}
    before, after = (contrast(frames[0], masks[0], 3).mean() for frames in (off, on))
    assert after < 0.7 * before


def test_occluders(label):
    """Less is seen of the objects, which are where they were."""
    plain, off, visible_before = label(3)
    spec, on, visible = label(3, occluders=Occluders(mean=0.5, heavy=0.3, free=0.0))
    assert [item.motion for item in spec.objects] == [item.motion for item in plain.objects]
    assert ((on == off) | (on == 0)).all()
    assert (visible <= visible_before).all() and visible.mean() < visible_before.mean() - 0.15


def test_contact(label, store):
    """The lowest vertex of what stands is on the floor in each frame; without, objects float or sink."""
    room = Rooms(share=1.0)
    floating, off, _ = label(3, rooms=room)
    standing, on, _ = label(3, rooms=room, contact=Contact(share=1.0, bend=1.0))
    gaps = [
        [np.abs(each[..., 2].min(axis=1) - spec.ground.offset).max() for each in outlines(spec, store)]
        for spec in (floating, standing)
    ]
    assert max(gaps[1]) < 1e-6 and min(gaps[0]) > 0.02
    assert not np.array_equal(on, off)


def test_physics(label, store):
    """What is let go falls, and lies on the floor at the end; without, it keeps its course."""
    drops = Physics(share=1.0, objects=1.0, drop=1.0, throw=0.0, roll=0.0, height=(0.8, 1.0), bounce=(0.0, 0.2))
    plain, off, _ = label(0, frames=6)
    spec, on, _ = label(0, frames=6, physics=drops)
    assert plain.physics is None and not np.array_equal(on, off)
    falls = outlines(spec, store)
    lowest = np.array([each[..., 2].min(axis=1) for each in falls]) - spec.physics.floor
    assert (lowest > -0.1).all() and (lowest[:, -1] < 0.1).all()
    assert (lowest[:, 0] - lowest[:, -1] > 0.5).all()
    down = np.diff(centroids(on, 3)[[0, -1], :, 1], axis=0)
    drift = np.diff(centroids(off, 3)[[0, -1], :, 1], axis=0)
    assert np.nanmin(down) > 5 > np.nanmin(drift)
