"""The report of an interactive evaluation: as JSON, as tables, and the benchmark's own files."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

from train.evaluation.session import Interaction
from vosforge.config import Record
from vosforge.files import sealed_file

COLUMNS = (
    *("", "session_id", "sequence", "scribble_idx", "interaction", "object_id", "frame"),
    *("jaccard", "contour", "j_and_f", "timing"),
)
"""Of the benchmark's report; the first is the number of the row."""


class VideoScores(Record):
    """One video: J&F after each interaction, mean over its samples and objects."""

    video: str
    frames: int
    objects: int
    samples: int
    j_and_f: tuple[float, ...]


class SettingScores(Record):
    """One setting's scores, means over samples and objects; where time ran out, those of the interaction before."""

    name: str
    j: tuple[float, ...]
    """After each interaction, as ``f``, ``j_and_f`` and ``seconds``."""
    f: tuple[float, ...]
    j_and_f: tuple[float, ...]
    seconds: tuple[float | None, ...]
    """The method's time for each interaction, mean over the samples where it counted; None where it counted in none."""
    auc: float
    j_and_f_at_60s: float
    curve_seconds: tuple[float, ...]
    curve_j_and_f: tuple[float, ...]
    interactions: int
    """Interactions that counted, over all samples."""
    without_input: int
    """Of these, those without a scribble or click: nothing is wrong, or the robot has no stroke for what is wrong."""
    timed_out: int
    """Samples whose time ran out."""
    videos: tuple[VideoScores, ...]


class InteractiveReport(Record):
    """What was evaluated how, and the scores."""

    kind: str
    protocol: str
    first_input: str
    schedule: str
    propagated_after: tuple[int, ...] | None
    """Interactions; None: each."""
    interactions: int
    max_seconds: float | None
    """For each object and interaction."""
    source: str
    split: str | None
    networks: str
    short_side: int | None
    device: str
    threads: int
    settings: tuple[SettingScores, ...]

    def tables(self) -> list[Table]:
        """What is to be printed: each setting's interactions, and a comparison of several settings."""
        many = len(self.settings) > 1
        tables = [_interactions_table(each, each.name if many else self.kind) for each in self.settings]
        if many:
            compared = Table(title="Ablation, one checkpoint", title_justify="left")
            compared.add_column("setting")
            for name in ("AUC", "J&F at 60 s", "J&F at the end", "s an interaction"):
                compared.add_column(name, justify="right")
            for each in self.settings:
                scores = (f"{100 * score:.1f}" for score in (each.auc, each.j_and_f_at_60s, each.j_and_f[-1]))
                taken = [seconds for seconds in each.seconds if seconds is not None]
                compared.add_row(each.name, *scores, f"{sum(taken) / len(taken):.2f}" if taken else "-")
            tables.append(compared)
        return tables

    def notes(self) -> list[str]:
        """Lines that belong to the tables."""
        per = "no limit" if self.max_seconds is None else f"{self.max_seconds:g} s an object and interaction"
        lines = [
            f"{self.protocol}; {self.first_input}; schedule '{self.schedule}'; {per}",
            f"time measured on {self.device}, {self.threads} CPU threads",
        ]
        for each in self.settings:
            many = f"{each.name}: " if len(self.settings) > 1 else ""
            lines.append(
                f"{many}AUC {100 * each.auc:.1f}, J&F at 60 s {100 * each.j_and_f_at_60s:.1f}; no scribble or click in "
                f"{each.without_input} of {each.interactions} interactions; {each.timed_out} samples out of time"
            )
        return lines


def _interactions_table(scores: SettingScores, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("interaction", "J", "F", "J&F", "seconds"):
        table.add_column(name, justify="right")
    rows = zip(scores.j, scores.f, scores.j_and_f, scores.seconds, strict=True)
    for number, (*values, seconds) in enumerate(rows, start=1):
        time = "-" if seconds is None else f"{seconds:.2f}"
        table.add_row(str(number), *(f"{100 * value:.1f}" for value in values), time)
    return table


AddInteraction = Callable[[str, int, Sequence[int], Interaction], None]
"""Writes the rows of one interaction, one a frame and object; told sequence, scribble, object labels, interaction."""


@contextmanager
def benchmark_rows(path: Path, session_id: str) -> Iterator[AddInteraction]:
    """Write the benchmark's ``result_….csv`` interaction by interaction; it gets its name when the block succeeds."""
    with sealed_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        count = 0

        def add(sequence: str, scribble: int, object_ids: Sequence[int], done: Interaction) -> None:
            nonlocal count
            for t, scores in enumerate(zip(done.scores.j.tolist(), done.scores.f.tolist(), strict=True)):
                for label, j, f in zip(object_ids, *scores, strict=True):
                    both = 0.5 * j + 0.5 * f
                    row = (session_id, sequence, scribble, done.number, label, t, j, f, both, done.seconds)
                    writer.writerow((count, *row))
                    count += 1

        yield add
