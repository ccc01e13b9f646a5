"""Evaluates networks interactively on videos with masks: the DAVIS interactive benchmark, clicks, MiVOS's ablation."""

import json
import math
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from tools.commands.session_report import (
    AddInteraction,
    InteractiveReport,
    SettingScores,
    VideoScores,
    benchmark_rows,
)
from tools.options import SMALL
from train.evaluation.interactive import Networks
from train.evaluation.samples import First, Subject, open_subjects
from train.evaluation.schedules import EVERY, MIVOS, SCHEDULES, Schedule
from train.evaluation.session import Interaction
from train.evaluation.summary import SampleScores, Summary, carried, summarize
from train.evaluation.trials import ABLATION, FULL, Kind, Setting, Trial, run_trials
from train.loop import torch_device
from vosforge.config import named
from vosforge.errors import InputError
from vosforge.files import check_folder, write_sealed
from vosforge.progress import progress
from vosforge.trouble import attempting

MAX_INTERACTIONS = 16
"""The benchmark's maximum."""
MIN_SHORT_SIDE = 16
"""The networks' stride."""
DEFAULT_SCHEDULES: dict[Kind, Schedule] = {"scribbles": MIVOS, "clicks": EVERY}


class _Scores:
    """What is kept of one setting's sessions."""

    def __init__(self) -> None:
        self.samples: list[SampleScores] = []
        self.interactions = self.without_input = 0

    def add(
        self, subject: Subject, sample: First, session: Iterable[Interaction], add_rows: AddInteraction
    ) -> Iterator[None]:
        """Run a session and keep means over frames; yields after each interaction."""
        K = len(subject.object_ids)
        j, f, seconds = [], [], []
        for each in session:
            add_rows(subject.video.id, sample.number, subject.object_ids, each)
            j.append(each.scores.j.mean(axis=0))
            f.append(each.scores.f.mean(axis=0))
            seconds.append(each.seconds)
            self.interactions += 1
            self.without_input += each.given is None
            yield
        means_j, means_f = (np.array(values).reshape(-1, K) for values in (j, f))
        sample_scores = SampleScores(subject.video.id, sample.number, means_j, means_f, np.array(seconds))
        self.samples.append(sample_scores)

    def collected(
        self, setting: Setting, summary: Summary, subjects: Sequence[Subject], interactions: int
    ) -> SettingScores:
        """The scores for the report."""
        j = np.concatenate([carried(sample.j, interactions) for sample in self.samples], axis=1).mean(axis=1)
        f = np.concatenate([carried(sample.f, interactions) for sample in self.samples], axis=1).mean(axis=1)
        taken = [sample.seconds for sample in self.samples]
        seconds = [[float(each[n]) for each in taken if n < len(each)] for n in range(interactions)]
        return SettingScores(
            name=setting.name,
            j=tuple(j.tolist()),
            f=tuple(f.tolist()),
            j_and_f=tuple(summary.j_and_f[1:-1].tolist()),
            seconds=tuple(sum(each) / len(each) if each else None for each in seconds),
            auc=summary.auc,
            j_and_f_at_60s=summary.at_threshold,
            curve_seconds=tuple(summary.time.tolist()),
            curve_j_and_f=tuple(summary.j_and_f.tolist()),
            interactions=self.interactions,
            without_input=self.without_input,
            timed_out=sum(len(sample.seconds) < interactions for sample in self.samples),
            videos=tuple(self._video(subject, interactions) for subject in subjects),
        )

    def _video(self, subject: Subject, interactions: int) -> VideoScores:
        own = [sample for sample in self.samples if sample.sequence == subject.video.id]
        j_and_f = np.concatenate([carried(sample.j_and_f, interactions) for sample in own], axis=1).mean(axis=1)
        return VideoScores(
            video=subject.video.id,
            frames=subject.video.num_frames,
            objects=len(subject.object_ids),
            samples=len(own),
            j_and_f=tuple(j_and_f.tolist()),
        )


def evaluate_interactively(
    where: str,
    networks: Path | None,
    out: Path,
    *,
    kind: str = "scribbles",
    schedule: str | None = None,
    max_seconds: float | None = 30.0,
    interactions: int = 8,
    short_side: int | None = None,
    ablation: bool = False,
    device: str = "auto",
    split: str | None = None,
) -> InteractiveReport:
    """Evaluate the ``networks`` of a folder on the videos at ``where``; write scores and a report to ``out``.

    ``networks`` None: the shipped ones. ``where``: a DAVIS tree, or a data set of shards (path or URL). ``kind``:
    scribbles or clicks; ``schedule``: mivos or every (default: mivos for scribbles, every for clicks). ``max_seconds``
    for each object and interaction (MiVOS: 30), None for no limit. ``ablation``: four rows, from no top-k and no fusion
    to the full method. ``device``: auto, cpu or cuda. ``split``: see `train.evaluation.samples.open_subjects`.

    Files: ``result_<time>.csv`` and ``summary.json`` as the benchmark's, with ``ablation`` in a folder for each row;
    ``session.json``, the report. InputError before any work where something cannot be used.
    """
    trial = _trial(kind, schedule, max_seconds, interactions, short_side)
    on = torch_device(named("device", device, {each: each for each in ("auto", "cpu", "cuda")}))
    check_folder(out)
    loaded = Networks.load(networks).to(str(on))
    subjects = open_subjects(where, split)
    settings = ABLATION if ablation else (FULL,)
    folders = {each: out / f"row-{row}" if ablation else out for row, each in enumerate(settings, start=1)}
    name = f"result_{datetime.now():%Y%m%d_%H%M%S}"
    scores = {each: _Scores() for each in settings}
    with attempting(f"write to {out}"), ExitStack() as files:
        rows = {each: files.enter_context(benchmark_rows(folders[each] / f"{name}.csv", name)) for each in settings}
        _run(subjects, loaded, trial, scores, rows)
    summaries = {each: summarize(kept.samples, interactions, trial.max_seconds) for each, kept in scores.items()}
    report = InteractiveReport(
        kind=kind,
        protocol=_protocol(trial),
        first_input=_first_input(trial, subjects),
        schedule=trial.schedule.name,
        propagated_after=trial.schedule.propagating,
        interactions=interactions,
        max_seconds=max_seconds,
        source=where,
        split=split,
        networks=str(networks or SMALL),
        short_side=short_side,
        device=_described(on),
        threads=torch.get_num_threads(),
        settings=tuple(kept.collected(each, summaries[each], subjects, interactions) for each, kept in scores.items()),
    )
    with attempting(f"write to {out}"):
        for each, summary in summaries.items():
            write_sealed(folders[each] / "summary.json", json.dumps(summary.as_json()))
        write_sealed(out / "session.json", report.model_dump_json(indent=1))
    return report


def _trial(
    kind: str, schedule: str | None, max_seconds: float | None, interactions: int, short_side: int | None
) -> Trial:
    chosen = named("kind", kind, {each: each for each in get_args(Kind)})
    planned = DEFAULT_SCHEDULES[chosen] if schedule is None else named("schedule", schedule, SCHEDULES)
    most = planned.max_interactions or MAX_INTERACTIONS
    if not 1 <= interactions <= most:
        raise InputError(f"the schedule '{planned.name}' has 1..{most} interactions, not {interactions}")
    if max_seconds is not None and not 0 < max_seconds < math.inf:
        raise InputError(f"the seconds for an object and interaction must be above 0, not {max_seconds:g}")
    if short_side is not None and short_side < MIN_SHORT_SIDE:
        raise InputError(f"the short side must be at least {MIN_SHORT_SIDE} pixels, not {short_side}")
    return Trial(chosen, planned, interactions, None if max_seconds is None else max_seconds * interactions, short_side)


def _described(device: torch.device) -> str:
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device} ({hardware})"


def _run(
    subjects: Sequence[Subject],
    networks: Networks,
    trial: Trial,
    scores: dict[Setting, _Scores],
    rows: dict[Setting, AddInteraction],
) -> None:
    samples = sum(subject.num_samples if trial.kind == "scribbles" else 1 for subject in subjects)
    with progress("evaluating", samples * trial.interactions * len(scores)) as bar:
        for subject in subjects:
            name = subject.video.id
            for setting, sample, session in run_trials(subject, networks, trial, tuple(scores)):
                left = trial.interactions
                for _ in scores[setting].add(subject, sample, session, rows[setting]):
                    bar.advance(name)
                    left -= 1
                for _ in range(left):  # time ran out
                    bar.advance(name)


def _protocol(trial: Trial) -> str:
    if trial.kind == "clicks":
        return (
            "clicks (RITM's rule: the pixel deepest inside the largest error), one an interaction, on the frame of the "
            "lowest J&F; all frames count, void is background"
        )
    return "DAVIS interactive benchmark: its robot on the frame of the lowest J&F; all frames count, void is background"


def _first_input(trial: Trial, subjects: Sequence[Subject]) -> str:
    if trial.kind == "clicks":
        return "first click on the frame that shows all objects best"
    ours = [subject.video.id for subject in subjects if not subject.scribbles]
    robot = "by VOSForge's robot on the frame that shows all objects best (not the benchmark's first scribbles)"
    if not ours:
        return "first scribbles by people, from the tree"
    if len(ours) == len(subjects):
        return f"first scribbles {robot}"
    return f"first scribbles by people, from the tree, but of {', '.join(ours)} {robot}"
