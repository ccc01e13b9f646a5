"""The protocols against independent code: loops over pixels, frames and objects, written from their definitions."""

import math

import numpy as np
import pytest

from train.evaluation.protocols import PROTOCOLS, Sample, score_sample
from train.evaluation.scoring import VideoScore, summarise
from train.evaluation.truth import ListedObject
from vosforge import InputError

H, W, T = 110, 140, 8


def edge_pixels(mask):
    """Pixels that differ from their right, lower or lower-right neighbour; the picture's border is no edge."""
    found = set()
    rows, columns = (np.flatnonzero(mask.any(axis=axis)).tolist() for axis in (1, 0))
    for y in range(max(rows[0] - 1, 0), rows[-1] + 1) if rows else ():
        for x in range(max(columns[0] - 1, 0), columns[-1] + 1):
            below, right = min(y + 1, len(mask) - 1), min(x + 1, len(mask[0]) - 1)
            if any(mask[y][x] != other for other in (mask[below][x], mask[y][right], mask[below][right])):
                found.add((y, x))
    return found


def reach(radius):
    """The offsets of a disk, off centre for a radius that is no integer (as scikit-image and OpenCV make it)."""
    side = [-radius + step for step in range(math.ceil(2 * radius + 1 - 1e-9))]
    centre = len(side) // 2
    return [
        (i - centre, j - centre)
        for i, y in enumerate(side)
        for j, x in enumerate(side)
        if y * y + x * x <= radius * radius
    ]


def slow_counts(truth, found, radius):
    expected, predicted = edge_pixels(truth), edge_pixels(found)
    offsets = reach(radius)

    def near(pixel, others):
        return any((pixel[0] + dy, pixel[1] + dx) in others for dy, dx in offsets)

    return (
        sum(near(pixel, predicted) for pixel in expected),
        len(expected),
        sum(near(pixel, expected) for pixel in predicted),
        len(predicted),
    )


def slow_f(counts):
    matched_truth, truth, matched_found, found = counts
    if not truth or not found:
        return 1.0 if truth == found else 0.0
    precision, recall = matched_found / found, matched_truth / truth
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def slow_j(truth, found, more=0):
    union = sum(map(sum, (truth | found).tolist()))
    return (sum(map(sum, (truth & found).tolist())) + more) / (union + more) if union else 1.0


def disk_radius():
    return math.ceil(0.008 * math.hypot(H, W))


def square(top, left, size):
    mask = np.zeros((H, W), bool)
    mask[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = True
    return mask


def case(name):
    """Truth and result ``[T, H, W]`` of one kind of difference; objects 1 and 2."""
    truth, found = np.zeros((2, T, H, W), np.uint8)
    for t in range(T):
        size = 2 if name == "tiny" else 12
        truth[t][square(4 + t, 5 + t, size)] = 1
        truth[t][square(18, 30 - t, 10)] = 2
        if name == "absent" and t in (3, 4, 6):
            truth[t][truth[t] == 1] = 0
        if name == "late" and t < 3:
            truth[t][truth[t] == 1] = 0
        found[t] = truth[t]
        if name == "void":
            truth[t, 4:9, 20:26] = 255
            found[t, 4:7, 19:24] = 1
        if name in ("shifted", "absent", "late", "tiny"):
            found[t] = np.roll(found[t], (1, 2), (0, 1))
        if name == "eroded":
            inner = np.zeros((H, W), bool)
            inner[5 + t : 15 + t, 6 + t : 16 + t] = True
            found[t] = np.where((truth[t] == 1) & ~inner, 0, truth[t])
        if name == "dropped":
            found[t][found[t] == 2] = 0
        if name == "empty":
            found[t] = 0
        if name == "early" and t >= 2:
            found[t][square(0, 40, 5)] = 1
    if name == "early":
        truth[:4][truth[:4] == 1] = 0
    return truth, found


CASES = ("shifted", "eroded", "dropped", "empty", "tiny", "late", "absent", "void", "early")


def objects_of(protocol, truth, found):
    """(label, counted frames) as the definitions have it."""
    inner = list(range(1, T - 1))
    if protocol == "davis17":
        most = max((int(label) for label in np.unique(truth[0]) if label != 255), default=0)
        return [(label, inner) for label in range(1, most + 1)]
    if protocol == "davis16":
        return [(1, inner)]
    if protocol == "vos-benchmark":
        lists, shown = {}, set()
        for t in inner:
            here = set(np.unique(truth[t]).tolist()) - {0}
            shown |= here
            for label in here | set(np.unique(found[t]).tolist()) - {0}:
                lists.setdefault(label, [])
            for label in lists:
                lists[label].append(t)
        return [(label, lists[label]) for label in sorted(shown)]
    labels = sorted(set(np.unique(truth).tolist()) - {0, 255})
    if protocol == "youtube-vos":
        starts = {label: next(t for t in range(T) if (truth[t] == label).any()) for label in labels}
        return [(label, list(range(starts[label] + 1, T - 1))) for label in labels]
    if protocol == "volumetric":
        labels = sorted(set(np.unique(truth[1:-1]).tolist()) - {0, 255})
    return [(label, inner) for label in labels]


def slow_scores(protocol, truth, found):
    """J and F of each object."""
    result = {}
    if protocol == "davis16":
        truth, found = np.where(truth == 255, 0, truth) > 0, found > 0
    for label, frames in objects_of(protocol, truth, found):
        pairs = [(truth[t] == label, found[t] == label) for t in frames]
        if protocol == "volumetric":
            counts = [slow_counts(a, b, disk_radius()) for a, b in pairs]
            inter = sum(int((a & b).sum()) for a, b in pairs)
            union = sum(int((a | b).sum()) for a, b in pairs)
            result[label] = (inter / union, slow_f([sum(column) for column in zip(*counts, strict=True)]))
            continue
        js, fs = [], []
        for a, b in pairs:
            radius: float = disk_radius()
            if protocol == "mose2":
                tolerance, area = 0.008 * math.hypot(H, W), int(a.sum())
                small = math.ceil(0.1 * math.sqrt(area)) if area else math.ceil(tolerance)
                radius = small if small < tolerance else tolerance
            js.append(slow_j(a, b, more=1 if protocol == "mose2" else 0))
            fs.append(slow_f(slow_counts(a, b, radius)))
        result[label] = (sum(js) / len(js), sum(fs) / len(fs))
    return result


def scored(protocol, truth, found, listed=None):
    names = [f"{t:05d}" for t in range(len(truth))]
    return score_sample(PROTOCOLS[protocol], Sample("a", names, truth, found, listed or {}))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_equals_its_definition(protocol, name):
    truth, found = case(name)
    expected = slow_scores(protocol, truth, found)
    scores, per_frame = scored(protocol, truth, found)
    assert {score.object: (score.j, score.f) for score in scores} == {
        label: pytest.approx(pair, abs=1e-12) for label, pair in expected.items()
    }
    assert np.isnan(per_frame[[0, -1]]).all()


def test_void_is_background_but_an_object_of_vos_benchmark():
    truth, found = case("void")
    assert [score.object for score in scored("davis17", truth, found)[0]] == [1, 2]
    by_label = {score.object: score for score in scored("vos-benchmark", truth, found)[0]}
    assert (by_label[255].j, by_label[255].f) == (0.0, 0.0)


def test_davis17_counts_gaps_and_refuses_objects_that_enter_later():
    truth, found = case("shifted")
    truth[truth == 2], found[found == 2] = 3, 3
    scores, _ = scored("davis17", truth, found)
    assert [(score.object, score.j) for score in scores][1] == (2, 1.0)
    truth[:2][truth[:2] == 3] = 0
    with pytest.raises(InputError, match=r"object 3.*enters later.*vos-benchmark"):
        scored("davis17", truth, found)
    truth[truth == 3] = 0
    with pytest.raises(InputError, match=r"object 3.*remove it"):
        scored("davis17", truth, found)


def test_mose2_scores_absence_and_return_as_means_over_their_runs():
    truth, found = case("absent")
    score = next(score for score in scored("mose2", truth, found)[0] if score.object == 1)
    j = [slow_j(truth[t] == 1, found[t] == 1, more=1) for t in range(1, T - 1)]
    assert score.j_absent == pytest.approx(((j[2] + j[3]) / 2 + j[5]) / 2)
    assert score.j_returned == pytest.approx(j[4])
    steady = next(score for score in scored("mose2", truth, found)[0] if score.object == 2)
    assert steady.j_absent is steady.j_returned is None
    # Absent from the first counted frame on is no disappearance; the first appearance counts as a return.
    truth, found = case("late")
    late = next(score for score in scored("mose2", truth, found)[0] if score.object == 1)
    assert late.j_absent is None
    assert late.j_returned == pytest.approx(
        np.mean([slow_j(truth[t] == 1, found[t] == 1, more=1) for t in range(3, T - 1)])
    )


def test_an_empty_result_earns_nothing_in_volumes():
    truth, found = case("late")
    assert [score.j for score in scored("volumetric", truth, np.zeros_like(found))[0]] == [0.0, 0.0]
    by_frame = next(
        score for score in scored("davis17", np.flip(truth, 0), np.zeros_like(found))[0] if score.object == 1
    )
    assert by_frame.j > 0


def test_youtube_vos_starts_an_object_where_its_metadata_says():
    truth, found = case("shifted")
    listed = {1: ListedObject("dog", "00004"), 2: ListedObject("car", "00000")}
    scores, _ = scored("youtube-vos", truth, found, listed)
    assert [(score.object, score.category, score.frames) for score in scores] == [(1, "dog", 2), (2, "car", 6)]


def test_the_headline_is_the_mean_over_objects_and_of_youtube_vos_over_groups(caplog):
    listed = {1: ListedObject("dog"), 2: ListedObject("car")}
    videos = []
    for name in ("shifted", "dropped"):
        truth, found = case(name)
        if name == "dropped":
            truth, found = np.where(truth == 1, 0, truth), np.where(found == 1, 0, found)
        scores, _ = scored("youtube-vos", truth, found, listed)
        videos.append(VideoScore(video=name, attributes={"weather": name}, objects=tuple(scores), worst=()))
    objects = [score for video in videos for score in video.objects]
    assert len(objects) == 3
    found = summarise(videos, "volumetric", "r", "t")
    assert found.overall.j == pytest.approx(np.mean([score.j for score in objects]))
    assert found.groups["weather"]["shifted"].objects == 2
    assert found.groups["category"]["car"].j == pytest.approx(np.mean([s.j for s in objects if s.category == "car"]))
    halves = summarise(videos, "youtube-vos", "r", "t", frozenset({"dog"}))
    groups = halves.groups["categories in training"]
    assert halves.overall.j == pytest.approx((groups["seen"].j + groups["unseen"].j) / 2)
    with pytest.raises(InputError, match="counts no frame"):
        summarise([], "youtube-vos", "r", "t")
