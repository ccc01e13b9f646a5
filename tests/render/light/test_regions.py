"""The rectangles that are rendered, against independent rays and by what must hold of any rectangles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_scenes.geometry import SceneGeometry
from blender_scenes.object_spec import Deformation
from blender_scenes.sample import PRESETS, SceneConfig, sample_scene
from blender_scenes.spec import RenderSettings
from blender_scenes.trajectories import camera_poses
from render.geometry.raycast import CLIP_START
from render.geometry.surfaces import lamp_box, plane_triangles
from render.light.regions import CELL, RIM, Regions, denoiser_for, enclosing, mark, neighbourhoods, parts
from tests.render.raycast import cast_mask, hit
from vosforge.videos.codec import Region

SETTINGS = RenderSettings(width=96, height=64, frames=4, samples=2)
K = np.array([[60.0, 0, 48], [0, 60.0, 32], [0, 0, 1]])


def painted(regions, height=64, width=96):
    """How many of ``regions`` each pixel lies in."""
    times = np.zeros((height, width), int)
    for region in regions:
        times[region.top : region.bottom, region.left : region.right] += 1
    return times


def test_no_object_is_seen_outside_the_regions(store, catalog):
    smaller = 0
    for index in range(3):
        spec = sample_scene(PRESETS["bl30k"], SETTINGS, catalog, seed=3, index=index, split="train")
        bent = spec.objects[0].model_copy(update={"deformation": Deformation(twist=(0.0, 3.0), wave=(0.3,))})
        spec = spec.model_copy(update={"objects": (bent, *spec.objects[1:])})
        geometry = SceneGeometry.load(spec, store)
        regions = Regions(geometry, geometry.numbers, 2)
        for t in (0, 3):
            times = painted(regions.at(t))
            assert times.max() <= 1, "no pixel is rendered twice"
            assert not cast_mask(spec, store, t)[times == 0].any()
            smaller += times.mean() < 0.5
    assert smaller


def test_a_ground_and_a_lamp_count_and_the_sky_does_not(store, catalog):
    drawn = (sample_scene(SceneConfig(), SETTINGS, catalog, seed=2, index=n, split="train") for n in range(12))
    skies = 0
    for spec in [spec for spec in drawn if spec.ground is not None]:
        geometry = SceneGeometry.load(spec, store)
        to_camera = camera_poses(spec.camera, SETTINGS.frames)[1]
        still = np.concatenate([plane_triangles(spec.ground, 2), *map(lamp_box, spec.lights)])
        seen, nearest = np.zeros((64, 96), np.uint8), np.full((64, 96), np.inf)
        for corners in still @ to_camera[:3, :3].T + to_camera[:3, 3]:
            hit(corners, 1, geometry.K[1], nearest, seen)
        times = painted(Regions(geometry, (), 8, spec.lights, [(spec.ground, 2)]).at(1))
        assert not seen[times == 0].any()
        skies += (times == 0).any()
    assert skies


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.003, 0.3, 30.0]))
def test_every_cell_that_a_triangle_comes_near_is_marked(seed, size):
    rng = np.random.default_rng(seed)
    count = 6
    middle = rng.uniform([-1.2, -0.9, 0.2], [1.2, 0.9, 1.5], (count, 1, 3)) * rng.choice([0.1, 1.0, 5.0])
    corners = middle + size * rng.normal(size=(count, 3, 3))  # some reach behind the camera
    cells = np.zeros((8, 12), bool)
    mark(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3), K, cells)
    # Points of the triangles, dense at their rims.
    weights = rng.dirichlet([0.3, 0.3, 0.3], (count, 4000))
    points = np.einsum("fnk,fkd->fnd", weights, corners).reshape(-1, 3)
    points = points[points[:, 2] > CLIP_START]
    seen = points[:, :2] / points[:, 2:] * 60 + [48, 32]
    seen = (seen[:, None] + 0.99 * RIM * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])).reshape(-1, 2)
    seen = seen[((seen >= 0) & (seen < [96, 64])).all(axis=1)].astype(int) // CELL
    assert cells[seen[:, 1], seen[:, 0]].all()


def test_not_much_more_is_marked_than_triangles_touch():
    cells = np.zeros((8, 12), bool)
    bar = np.array([[-0.7, -0.5, 1], [0.7, 0.48, 1], [0.7, 0.5, 1.0]])  # from one corner to the other
    mark(bar, np.array([[0, 1, 2]]), K, cells)
    assert 12 <= cells.sum() <= 36
    behind = np.zeros((8, 12), bool)
    mark(bar * [1, 1, -1], np.array([[0, 1, 2]]), K, behind)
    assert not behind.any()


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.9), st.sampled_from([0.0, 1.0, 5.0, 1e9]))
def test_parts_hold_all_that_is_marked_and_cost_no_more_than_one_box(seed, share, cost):
    rng = np.random.default_rng(seed)
    cells = rng.random((rng.integers(1, 20), rng.integers(1, 20))) < share**3
    found = parts(cells, cost)
    times = painted(found, *cells.shape)
    assert times.max(initial=0) <= 1 and times[cells].all()
    if not cells.any():
        assert not found
        return
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    box = Region(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    assert times.sum() + cost * len(found) <= (box.bottom - box.top) * (box.right - box.left) + cost
    if cost == 1e9:
        assert found == [box]
    if cost == 0:
        assert all(cells[part.top : part.bottom, part.left : part.right].any() for part in found)


def test_two_things_far_apart_are_two_parts():
    cells = np.zeros((20, 30), bool)
    cells[2:5, 3:7] = cells[14:18, 22:29] = True
    assert sorted(parts(cells, 10.0)) == [Region(2, 3, 5, 7), Region(14, 22, 18, 29)]


def test_the_better_denoiser_is_for_frames_of_which_much_is_rendered():
    def chosen(denoiser, *regions):
        return denoiser_for(RenderSettings(width=100, height=100, denoiser=denoiser), regions)

    sparse, dense = [Region(0, 0, 39, 100)], [Region(0, 0, 30, 100), Region(50, 0, 61, 100)]
    assert [chosen("adaptive", *regions) for regions in ((), sparse, dense)] == ["fast", "fast", "high"]
    assert [chosen(name, *regions) for name in ("fast", "high") for regions in (sparse, dense)] == ["fast"] * 2 + [
        "high"
    ] * 2
    assert denoiser_for(RenderSettings(width=100, height=100), dense, surrounded=True) == "fast"
    assert denoiser_for(RenderSettings(width=100, height=100, denoiser="high"), dense, surrounded=True) == "high"


@pytest.mark.parametrize("seed", range(20))
def test_boxes_hold_their_regions_and_keep_apart(seed):
    rng = np.random.default_rng(seed)
    low, size = rng.integers(0, 50, (8, 2)), rng.integers(1, 9, (8, 2))
    regions = [Region(*(int(side) for side in (*first, *last))) for first, last in zip(low, low + size, strict=True)]
    boxes = enclosing(regions)
    assert painted(boxes, 70, 70)[painted(regions, 70, 70) > 0].all()
    around = [Region(one.top, one.left, one.bottom + 1, one.right + 1) for one in boxes]
    assert painted(around, 70, 70).max() <= 1
    single = [box for box in boxes if box in regions]
    assert len(boxes) > len(single) or len(single) == len(regions)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(1, 5))
def test_neighbourhoods_hold_every_region_once_with_all_that_is_near(seed, margin, patches):
    rng = np.random.default_rng(seed)
    cells = np.zeros((16, 24), bool)
    for _ in range(patches):
        top, left = rng.integers(0, 14), rng.integers(0, 22)
        cells[top : top + rng.integers(1, 8), left : left + rng.integers(1, 8)] = True
    regions = [Region(*(4 * side for side in part)) for part in parts(cells, 3)]
    found = neighbourhoods(regions, margin, (64, 96))
    assert sorted(region for _, held in found for region in held) == sorted(regions)
    for box, held in found:
        for top, left, bottom, right in held:
            assert 0 <= box.top <= max(top - margin, 0) and 0 <= box.left <= max(left - margin, 0)
            assert 64 >= box.bottom >= min(bottom + margin, 64) and 96 >= box.right >= min(right + margin, 96)
    alone = [neighbourhoods([region], margin, (64, 96))[0][0] for region in regions]
    assert painted([box for box, _ in found]).sum() <= painted(alone).sum(), "boxes become one only where that is less"


def test_boxes_that_share_most_of_their_pixels_become_one():
    one, beside, far = Region(10, 10, 30, 30), Region(10, 30, 30, 50), Region(50, 70, 60, 90)
    assert dict(neighbourhoods([one, far, beside], 4, (64, 96))) == {
        Region(6, 6, 34, 54): [one, beside],
        Region(46, 66, 64, 94): [far],
    }
    assert neighbourhoods([], 4, (64, 96)) == []
