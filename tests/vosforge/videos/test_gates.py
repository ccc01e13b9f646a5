import numpy as np
import pytest

from vosforge.gates import GateLimits
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
    assert says in refusal(**measure(**changes)).reason


DIVERSE = GateLimits(min_coverage=0.0, max_coverage=1.0, min_area=0.0, first_frame=True, max_empty=0.5)


@pytest.mark.parametrize(
    ("empty", "says"),
    [((), None), ((1, 2), None), ((0,), "in frame 0"), ((1, 2, 3), "in 75% of the frames")],
)
def test_small_and_absent_objects_pass_where_the_preset_wants_them(empty, says):
    areas = np.full((4, 2), 1)
    areas[list(empty)] = 0
    refused = label_refusal(areas, PIXELS, DIVERSE)
    assert refused is None if says is None else says in refused.reason
    assert label_refusal(areas, PIXELS) is not None


@pytest.mark.parametrize(("kind", "brightness", "contrast"), [("black", 1, 9), ("burnt", 250, 9), ("flat", 99, 1)])
def test_what_a_module_causes_on_purpose_is_no_reason(kind, brightness, contrast):
    limits = GateLimits()
    assert color_refusal([brightness], [contrast], limits).kind == kind
    assert color_refusal([brightness], [contrast], limits.without((kind,))) is None
    assert color_refusal([brightness], [contrast], limits.without({"black", "burnt", "flat"} - {kind})) is not None
