import cv2
import numpy as np
import pytest
from skimage import morphology

from train.data.skeleton import medial_axis


def blobs(seed: int, size: int = 60) -> np.ndarray:
    noise = np.random.default_rng(seed).random((size, size + 7), dtype=np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 4) > 0.5


@pytest.mark.parametrize("seed", range(40))
def test_the_medial_axis_is_scikit_images(seed: int) -> None:
    region = blobs(seed)
    expected = morphology.medial_axis(np.pad(region, 1), rng=np.random.default_rng(seed))[1:-1, 1:-1]
    assert np.array_equal(medial_axis(region, np.random.default_rng(seed)), expected)


@pytest.mark.parametrize("region", [np.zeros((5, 6), bool), np.ones((1, 1), bool), np.ones((9, 4), bool)])
def test_the_medial_axis_of_plain_regions(region: np.ndarray) -> None:
    expected = morphology.medial_axis(np.pad(region, 1), rng=np.random.default_rng(0))[1:-1, 1:-1]
    assert np.array_equal(medial_axis(region, np.random.default_rng(0)), expected)
