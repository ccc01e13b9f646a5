import cv2
import numpy as np
import pytest

from vosforge import amounts
from vosforge.seeding import rng_for


def seeds(number=20):
    return [rng_for("amounts", seed) for seed in range(number)]


@pytest.mark.parametrize(
    ("seen", "first", "gaps", "gone"),
    [
        ("111111", 0, (), 0),
        ("001111", 2, (), 0),  # entering late is no absence
        ("110011", 0, (2,), 0),
        ("101001", 0, (1, 2), 0),
        ("011000", 1, (), 3),
        ("010100", 1, (1,), 2),
        ("000000", None, (), 0),
    ],
)
def test_absences_are_runs_after_the_first_sight(seen, first, gaps, gone):
    column = np.array([[letter == "1"] for letter in seen])
    assert amounts.absences(column) == [(first, gaps, gone)]


def test_absences_and_sights_add_up_to_all_frames():
    for rng in seeds():
        seen = rng.random((17, 5)) < rng.random()
        for column, found in zip(seen.T, amounts.absences(seen), strict=True):
            assert column.sum() + sum(found.gaps) + found.gone + (17 if found.first is None else found.first) == 17


def test_centroids_are_means_of_pixel_centres():
    for rng in seeds(5):
        mask = rng.integers(0, 4, (3, 13, 17), dtype=np.uint8)
        mask[1][mask[1] == 2] = 0
        found = amounts.centroids(mask, 3)
        for t in range(3):
            for k in range(3):
                y, x = np.nonzero(mask[t] == k + 1)
                wanted = (x.mean() + 0.5, y.mean() + 0.5) if len(x) else (np.nan, np.nan)
                np.testing.assert_allclose(found[t, k], wanted)


def test_labels_above_the_objects_and_void_count_for_nothing():
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[0, 0, 0], mask[0, 3, 3], mask[0, 2, 2] = 1, 255, 7
    np.testing.assert_allclose(amounts.centroids(mask, 1)[0], [[0.5, 0.5]])


def test_motion_is_per_frame_at_480_rows_whatever_the_size():
    for rng in seeds():
        step, rows = rng.uniform(0.1, 9, 2), int(rng.integers(100, 900))
        centres = np.arange(6)[:, None, None] * step + rng.random((1, 1, 2))
        centres[2] = np.nan  # two pairs less
        assert amounts.motion(centres, rows) == pytest.approx([np.hypot(*step) * 480 / rows])
        assert amounts.motion(centres * 2, rows * 2) == pytest.approx(amounts.motion(centres, rows))
    assert np.isnan(amounts.motion(np.full((4, 1, 2), np.nan), 480)).all()


def test_a_jump_at_a_cut_is_no_motion():
    for rng in seeds():
        cut, rows = int(rng.integers(1, 6)), int(rng.integers(100, 900))
        step = rng.uniform(0.1, 9, 2)
        centres = np.arange(6)[:, None, None] * step + np.where(np.arange(6) < cut, 0, 300)[:, None, None]
        assert amounts.motion(centres, rows, [cut]) == pytest.approx([np.hypot(*step) * 480 / rows])
        assert amounts.motion(centres, rows) > amounts.motion(centres, rows, [cut])
    assert np.isnan(amounts.motion(np.zeros((3, 1, 2)), 480, [1, 2])).all()


def test_scale_changes_by_the_square_of_the_distance_and_turns_do_not_matter():
    for rng in seeds():
        turn, _ = np.linalg.qr(rng.normal(size=(4, 3, 3)))
        depth, size = rng.uniform(1, 9, 4), rng.uniform(0.1, 3)
        pose = np.tile(np.eye(4), (4, 1, 1, 1))
        pose[:, 0, :3, :3], pose[:, 0, 2, 3] = turn * size, depth
        ratios = (depth[0] / depth) ** 2
        wanted = ratios[np.abs(np.log(ratios)).argmax()]
        assert amounts.scale_change(amounts.apparent_area(pose)) == pytest.approx([wanted])


def test_objects_behind_the_camera_have_no_scale():
    pose = np.tile(np.eye(4), (3, 1, 1, 1))
    pose[:, 0, 2, 3] = [-1, 2, 4]
    assert amounts.scale_change(amounts.apparent_area(pose)) == pytest.approx([0.25])
    pose[:, 0, 2, 3] = [-1, -1, 4]
    assert np.isnan(amounts.scale_change(amounts.apparent_area(pose))).all()


def test_a_zoom_changes_the_scale():
    pose = np.tile(np.eye(4), (3, 1, 1, 1))
    pose[..., 2, 3] = 2.0
    assert amounts.scale_change(amounts.apparent_area(pose, np.array([1.0, 1.2, 1.5]))) == pytest.approx([1.5**2])


def test_areas_at_the_border_do_not_count_and_occluded_ones_count_whole():
    area = np.array([[50], [20], [100], [0]])
    box = np.array([[[0, 5, 10, 9]], [[3, 5, 9, 9]], [[3, 5, 9, 9]], [[np.nan] * 4]])
    visibility = np.array([[1.0], [0.4], [1.0], [np.nan]])
    np.testing.assert_allclose(amounts.whole_area(area, box, None, (20, 20)).ravel(), [np.nan, 20, 100, np.nan])
    np.testing.assert_allclose(amounts.whole_area(area, box, visibility, (20, 20)).ravel(), [np.nan, 50, 100, np.nan])
    assert np.isnan(amounts.whole_area(area, box, None, (20, 9))).all()  # the lower border


def test_occlusion_counts_frames_that_show_the_object():
    visibility = np.array([[1.0, np.nan], [0.5, 0.2], [0.0, np.nan]])
    seen = visibility > 0
    assert amounts.occlusion(visibility, seen) == pytest.approx([0.25, 0.8])


def test_mean_shares_are_geometric():
    assert amounts.mean_share(np.array([[1, 0], [100, 0]]), 1000) == pytest.approx([0.01, np.nan], nan_ok=True)


def test_contrast_is_the_difference_to_what_is_within_15_pixels():
    for rng in seeds(5):
        inner, outer, far = rng.integers(0, 256, (3, 3))
        mask = np.zeros((90, 120), np.uint8)
        cv2.circle(mask, (int(rng.integers(20, 100)), int(rng.integers(20, 70))), 9, 1, -1)
        y, x = np.nonzero(mask)
        rows, columns = np.mgrid[:90, :120]
        near = np.min((rows[..., None] - y) ** 2 + (columns[..., None] - x) ** 2, axis=2) <= 15**2
        frame = np.where(mask[..., None] > 0, inner, np.where(near[..., None], outer, far)).astype(np.uint8)
        wanted = np.sqrt(((inner - outer) ** 2).mean())
        assert amounts.contrast(frame, mask, 2) == pytest.approx([wanted, np.nan], nan_ok=True)


def test_contrast_ignores_void_and_needs_a_ring():
    mask = np.full((20, 20), 255, np.uint8)
    mask[5:9, 5:9] = 1
    frame = np.full((20, 20, 3), 9, np.uint8)
    assert np.isnan(amounts.contrast(frame, mask, 1)).all()
    mask[9] = 0
    frame[5:9, 5:9] = 39
    assert amounts.contrast(frame, mask, 1) == pytest.approx([30])


def test_contrast_is_measured_from_the_first_to_the_last_frame():
    for number in (1, 2, 8, 16, 17, 24, 160):
        times = amounts.contrast_times(number)
        assert times[0] == 0 and times[-1] == number - 1 and len(times) == min(number, 16)


def test_rigid_and_evenly_growing_bodies_fit_and_others_do_not():
    for rng in seeds():
        shape = rng.normal(size=(40, 3))
        turn, _ = np.linalg.qr(rng.normal(size=(5, 3, 3)))
        turn *= np.sign(np.linalg.det(turn))[:, None, None]  # no mirrors
        size, place = rng.uniform(0.2, 4, 5), rng.normal(size=(5, 1, 3))
        moved = np.einsum("tij,nj->tni", turn * size[:, None, None], shape) + place
        assert amounts.misfit(moved) < 1e-6
        noise = rng.uniform(0.02, 0.2)
        bent = moved + noise * size[:, None, None] * rng.normal(size=moved.shape)
        assert noise / 4 < amounts.misfit(bent) < 2 * noise
        assert amounts.misfit(np.stack([shape, shape * [1, 1, -1]])) > 0.05  # a mirror image


def test_a_square_that_shears_fits_as_found_by_hand():
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    longer = square * [2, 1, 0]
    # The best square has half side 1.5: each corner is off by (0.5, -0.5), of a mean radius of the square root of 5.
    assert amounts.misfit(np.stack([square, longer])) == pytest.approx(np.sqrt(0.5 / 5) / 2)
    assert amounts.misfit(np.zeros((3, 4, 3))) == 0


def test_blur_is_what_moves_while_the_shutter_is_open():
    assert amounts.blur(np.array([8.0, np.nan]), 0.5) == pytest.approx([4, np.nan], nan_ok=True)
    assert amounts.blur(np.array([8.0, np.nan]), 0.0).tolist() == [0, 0]
