"""The summary against a table of entries, filled and averaged one by one, and the published code's own figures."""

import json
from typing import Any

import numpy as np
import pytest

from train.evaluation.summary import SampleScores, Summary, summarize


def sample(name: str, scribble: int, scores: list[list[float]], seconds: list[float], K: int = 1) -> SampleScores:
    values = np.array(scores, float).reshape(-1, K)
    return SampleScores(name, scribble, values, values, np.array(seconds))


PUBLISHED = [
    sample("a", 1, [[0.5], [0.9]], [10, 20]),
    sample("b", 1, [[0.2, 0.4, 0.6], [0.8, 0.8, 0.8]], [40, 30], 3),
    sample("b", 2, [[0.3, 0.3, 0.3]], [50], 3),
]


def test_figures_of_the_published_code() -> None:
    found = summarize(PUBLISHED, 2, 60.0)
    assert found.time == pytest.approx([0, 33.33333333, 50, 120])
    assert found.j_and_f == pytest.approx([0, 0.37142857, 0.6, 0.6])
    assert (found.auc, found.at_threshold) == pytest.approx((0.4690476, 0.6), abs=1e-7)
    unlimited = summarize(PUBLISHED, 2, None)
    assert unlimited.time[-1] == 100 and unlimited.auc == pytest.approx(0.4428571, abs=1e-7)
    written = json.loads(json.dumps(found.as_json()))
    assert written["metric_at_threshold"] == {"threshold": 60, "J_AND_F": pytest.approx(0.6)}
    assert set(written) == {"auc", "metric_at_threshold", "curve"} and set(written["curve"]) == {"time", "J_AND_F"}


def slow_summary(samples: list[SampleScores], interactions: int, max_seconds: float | None) -> Summary:
    """A dictionary of entries; gaps are filled from the interaction before; every mean is a loop."""
    entries: dict[tuple[Any, ...], tuple[float, float]] = {}
    for each in samples:
        for n in range(interactions):
            for k in range(each.num_objects):
                here = (each.sequence, each.scribble, k)
                if n < len(each.seconds):
                    entries[n, here] = (0.5 * each.j[n, k] + 0.5 * each.f[n, k], each.seconds[n])
                else:
                    entries[n, here] = (entries[n - 1, here][0] if n else 0.0, 0.0)
    time, metric, now = [0.0], [0.0], 0.0
    for n in range(interactions):
        values = [value for (m, _), (value, _) in entries.items() if m == n]
        timings = {here[:2]: timing for (m, here), (_, timing) in entries.items() if m == n}
        now += sum(timings.values()) / len(timings)
        time.append(now)
        metric.append(sum(values) / len(values))
    videos = {each.sequence: each.num_objects for each in samples}
    longest = max(timing for _, timing in entries.values())
    end = interactions * longest if max_seconds is None else max_seconds * sum(videos.values()) / len(videos)
    time.append(end)
    metric.append(metric[-1])
    area = sum((b - a) * (u + v) / 2 for a, b, u, v in zip(time, time[1:], metric, metric[1:], strict=False))
    at = metric[-1]
    for a, b, u, v in zip(time, time[1:], metric, metric[1:], strict=False):
        if a <= 60 <= b and b > a:
            at = u + (v - u) * (60 - a) / (b - a)
            break
    return Summary(np.array(time), np.array(metric), area / max(time), at)


@pytest.mark.parametrize("seed", range(12))
def test_the_summary_equals_its_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    interactions = int(rng.integers(1, 9))
    samples = []
    for v in range(int(rng.integers(1, 5))):
        K = int(rng.integers(1, 4))
        for scribble in range(1, int(rng.integers(2, 5))):
            n = int(rng.integers(0 if v else 1, interactions + 1))
            values = rng.random((2, n, K))
            samples.append(SampleScores(str(v), scribble, *values, rng.uniform(1, 12, n)))
    for limit in (None, 240.0):
        found, expected = summarize(samples, interactions, limit), slow_summary(samples, interactions, limit)
        assert found.time == pytest.approx(expected.time) and found.j_and_f == pytest.approx(expected.j_and_f)
        assert (found.auc, found.at_threshold) == pytest.approx((expected.auc, expected.at_threshold))


def test_a_method_that_never_answers_in_time_scores_nothing() -> None:
    found = summarize([sample("a", 1, [], [])], 3, 60.0)
    assert (found.auc, found.at_threshold) == (0, 0) and found.time.tolist() == [0, 0, 0, 0, 60]
    with pytest.raises(ValueError, match="without samples"):
        summarize([], 3, 60.0)
