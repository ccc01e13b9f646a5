"""Trials of an interactive evaluation: the sessions of one video with one setting of the runner, by the benchmark.

Also the settings that the ablation of the MiVOS paper compares.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from mivos_models import InteractiveRunner
from train.evaluation.clicks import Clicker
from train.evaluation.interactive import Networks
from train.evaluation.robot import NO_SCRIBBLE, benchmark_scribbles
from train.evaluation.samples import First, Subject
from train.evaluation.schedules import Schedule, ScheduledRunner
from train.evaluation.session import Given, Interaction, run_session
from vosforge.seeding import rng_for

Kind = Literal["scribbles", "clicks"]


class Setting(NamedTuple):
    """Which parts of the method are used. ``top_k`` None: a read considers all memory cells."""

    name: str
    top_k: Literal["published"] | None = "published"
    fusion: bool = True
    attention: bool = True


FULL = Setting("full")
ABLATION = (
    Setting("no top-k", None, fusion=False),
    Setting("+ top-k", fusion=False),
    Setting("+ fusion", attention=False),
    Setting("+ difference-aware fusion"),
)
"""The rows of the paper's table, with one checkpoint: the paper's third row had a fusion trained without attention."""


class Trial(NamedTuple):
    """What a session is run with."""

    kind: Kind
    schedule: Schedule
    interactions: int
    max_seconds: float | None
    """For each object, all interactions together."""
    short_side: int | None
    seed: int = 0


def run_trials(
    subject: Subject,
    networks: Networks,
    trial: Trial,
    settings: tuple[Setting, ...],
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[tuple[Setting, First, Iterator[Interaction]]]:
    """The sessions of a video: for each setting, each sample of the video. Consume one before asking for the next.

    Later scribbles are the benchmark's robot's. What is random in them depends on the seed, the video and the sample
    only. The video's frames and masks are decoded once, before any clock runs.
    """
    truth, frames, K = subject.truth(), subject.video.frames(), len(subject.object_ids)
    samples = list(subject.human()) if trial.kind == "scribbles" else []
    samples = samples or [subject.begun_by_robot(truth, trial.seed)]
    limit = None if trial.max_seconds is None else trial.max_seconds * K
    for setting in settings:
        start = partial(
            InteractiveRunner,
            networks.propagation,
            frames,
            K,
            s2m=networks.s2m,
            fusion=networks.fusion if setting.fusion else None,
            top_k=setting.top_k,
            short_side=trial.short_side,
            attention=setting.attention,
        )
        for sample in samples:
            correct = _annotator(subject, trial, truth, sample)
            given = sample.strokes if trial.kind == "scribbles" else correct(sample.frame, np.zeros_like(truth[0]))
            session = run_session(
                truth,
                K,
                (sample.frame, given),
                ScheduledRunner(start, trial.schedule),
                correct,
                interactions=trial.interactions,
                max_seconds=limit,
                clock=clock,
            )
            yield setting, sample, session


def _annotator(
    subject: Subject, trial: Trial, truth: np.ndarray, sample: First
) -> Callable[[int, np.ndarray], Given | None]:
    K = len(subject.object_ids)
    if trial.kind == "clicks":
        return Clicker(truth, K)
    rng = rng_for(trial.seed, "robot", subject.video.id, sample.number)

    def scribbles_on(frame: int, mask: np.ndarray) -> np.ndarray | None:
        strokes = benchmark_scribbles(truth[frame], mask, K, rng)
        return strokes if (strokes != NO_SCRIBBLE).any() else None

    return scribbles_on
