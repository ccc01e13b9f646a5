import numpy as np
import pytest

from train.evaluation.corruptions import CORRUPTIONS, corrupted, plasma
from vosforge import InputError
from vosforge.seeding import rng_for


def frames(T=2, H=40, W=56):
    y, x = np.mgrid[:H, :W]
    frame = np.stack([4 * x, 5 * y, 60 + x + y], axis=2).astype(np.uint8)
    return np.stack([frame] * T)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_grows_with_its_strength_and_is_repeatable(name):
    clean = frames()
    found = [corrupted(clean, name, strength, "a") for strength in (1, 2, 3)]
    errors = [np.abs(each.astype(int) - clean).mean() for each in found]
    assert 0 < errors[0] < errors[1] < errors[2]
    np.testing.assert_array_equal(found[1], corrupted(clean, name, 2, "a"))
    assert found[0].dtype == np.uint8 and found[0].shape == clean.shape
    assert np.array_equal(found[0][0], found[0][1]) == (name != "noise")  # noise alone is new on every frame


def test_noise_has_the_published_deviation():
    grey = np.full((1, 200, 200, 3), 128, np.uint8)
    found = corrupted(grey, "noise", 2, "a").astype(float) / 255
    assert found.std() == pytest.approx(0.18, abs=0.003)
    assert found.mean() == pytest.approx(128 / 255, abs=0.003)


def test_motion_blur_keeps_the_mean_of_the_inside_and_moves_along_its_direction():
    dot = np.zeros((1, 121, 121, 3), np.uint8)
    dot[0, 60, 60] = 255
    light = corrupted(dot, "blur", 3, "a")[0, ..., 0].astype(float)
    assert light.sum() == pytest.approx(255, rel=0.2)  # rounding to whole values takes some
    rows, columns = np.nonzero(light)
    assert columns.max() - columns.min() > rows.max() - rows.min() or np.ptp(columns) > 20
    assert min(columns.max() - 60, 60 - columns.min()) <= 1  # to one side


def test_plasma_fills_its_range_and_is_smoother_for_a_larger_decay():
    rough, smooth = (plasma(100, decay, rng_for("test")) for decay in (1.4, 3.0))
    assert rough.shape == (128, 128) and (rough.min(), rough.max()) == (0, 1)
    assert np.abs(np.diff(rough)).mean() > 2 * np.abs(np.diff(smooth)).mean()


def test_an_unknown_corruption_or_strength_is_named():
    with pytest.raises(InputError, match="unknown corruption 'rain'; known: noise"):
        corrupted(frames(), "rain", 1, "a")
    with pytest.raises(InputError, match="no strength 4"):
        corrupted(frames(), "fog", 4, "a")
