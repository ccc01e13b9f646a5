"""The summary of the DAVIS interactive benchmark: J&F against time, its area, and J&F at 60 s."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

THRESHOLD = 60.0
"""Seconds at which the benchmark reads J&F off the curve."""


@dataclass(frozen=True)
class SampleScores:
    """One sample's means over frames: J and F ``[n, K]`` of n interactions and K objects, and seconds ``[n]``.

    n is less than the number of interactions where time ran out, perhaps 0.
    """

    sequence: str
    scribble: int
    j: np.ndarray
    f: np.ndarray
    seconds: np.ndarray

    @property
    def num_objects(self) -> int:
        """K."""
        return self.j.shape[1]

    @property
    def j_and_f(self) -> np.ndarray:
        """J&F ``[n, K]``."""
        return (self.j + self.f) / 2


@dataclass(frozen=True)
class Summary:
    """The curve of J&F against ``time`` in seconds, both ``[interactions + 2]``, and what is read off it."""

    time: np.ndarray
    j_and_f: np.ndarray
    auc: float
    at_threshold: float
    """J&F at `THRESHOLD`."""

    def as_json(self) -> dict[str, Any]:
        """The benchmark's ``summary.json``."""
        return {
            "auc": self.auc,
            "metric_at_threshold": {"threshold": int(THRESHOLD), "J_AND_F": self.at_threshold},
            "curve": {"time": self.time.tolist(), "J_AND_F": self.j_and_f.tolist()},
        }


def summarize(samples: Sequence[SampleScores], interactions: int, max_seconds: float | None) -> Summary:
    """The benchmark's summary of all samples; ``max_seconds``: for each object, all interactions together.

    J&F is the mean over samples and objects, time the mean over samples. Where time ran out, J&F stays that of the
    interaction before (0 before the first) and takes no time. The curve starts at 0, 0 and goes on level until the
    time-out of a video with the mean number of objects, or, without ``max_seconds``, until all interactions would have
    ended if each had taken as long as the longest. ValueError without samples.
    """
    if not samples:
        raise ValueError("without samples there is no summary")
    # Plain sums over everything at once, as a table of all entries has them: objects weigh alike, not samples.
    by_object = np.concatenate([carried(sample.j_and_f, interactions) for sample in samples], axis=1)
    seconds = np.zeros((len(samples), interactions))
    for row, sample in zip(seconds, samples, strict=True):
        row[: len(sample.seconds)] = sample.seconds
    objects = {sample.sequence: sample.num_objects for sample in samples}
    end = interactions * seconds.max() if max_seconds is None else sum(objects.values()) / len(objects) * max_seconds
    time = np.array([0.0, *np.cumsum(seconds.mean(axis=0)), end])
    means = by_object.mean(axis=1)
    metric = np.array([0.0, *means, means[-1]])
    area = np.sum(np.diff(time) * (metric[1:] + metric[:-1]) / 2)
    return Summary(time, metric, float(area / time.max()), float(np.interp(THRESHOLD, time, metric)))


def carried(scores: np.ndarray, interactions: int) -> np.ndarray:
    """Scores ``[n, K]`` of the interactions that counted as ``[interactions, K]``: the last stays, before it is 0."""
    padded = np.zeros((interactions, scores.shape[1]))
    padded[: len(scores)] = scores
    if len(scores):
        padded[len(scores) :] = scores[-1]
    return padded
