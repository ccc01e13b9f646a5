import numpy as np
import pytest

from vosforge.videos.gates import color_refusal, label_refusal

PIXELS = 10_000


def measure(**changes):
    good = {"brightness": np.full(4, 100.0), "contrast": np.full(4, 40.0), "areas": np.full((4, 2), 500)}
    return good | changes


def refusal(brightness, contrast, areas):
    return color_refusal(brightness, contrast) or label_refusal(areas, PIXELS)


def at(array, place, value):
    changed = array.copy()
    changed[place] = value
    return changed


def test_a_good_video_passes():
    assert refusal(**measure()) is None


def test_without_colours_only_labels_count():
    assert color_refusal([], []) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"brightness": at(np.full(4, 100.0), 2, 1.0)}, "frame 2 is black"),
        ({"brightness": at(np.full(4, 100.0), 1, 252.0)}, "frame 1 is burnt"),
        ({"contrast": at(np.full(4, 40.0), 3, 0.5)}, "frame 3 is flat"),
        ({"areas": at(np.full((4, 2), 500), 0, 0)}, "frame 0 has almost no mask"),
        ({"areas": np.stack([np.full(4, 500), np.zeros(4, int)], axis=1)}, "object 2 is never seen"),
        ({"areas": at(np.full((4, 2), 500), (3, 1), 9000)}, "swallows the camera in frame 3 (it covers 90%)"),
    ],
)
def test_what_is_wrong_is_named(changes, says):
    assert says in refusal(**measure(**changes))
