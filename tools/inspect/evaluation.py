"""Writes evaluations: a table for the console, JSON, the field's CSV files, and an HTML page with the worst frames."""

import base64
import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.table import Table

from tools.inspect.overlay import overlay, shrink, shrink_labels
from train.evaluation.protocols import PROTOCOLS, Sample, ScoreValues
from train.evaluation.results import Result
from train.evaluation.scoring import Average, Evaluation, VideoScore, average
from train.evaluation.truth import Truth
from vosforge import __version__
from vosforge.extras import extra
from vosforge.files import write_sealed

COLUMNS = {
    "J&F": "jf",
    "J": "j",
    "J recall": "j_recall",
    "J decay": "j_decay",
    "F": "f",
    "F recall": "f_recall",
    "F decay": "f_decay",
    "F classic": "f_classic",
    "d": "jf_absent",
    "r": "jf_returned",
}
"""Scores by the titles of their columns."""
PAGE = "evaluation.html"
WORST_VIDEOS = 12
"""Videos whose worst frame is shown."""
LONGEST_SIDE = 420
JPEG_QUALITY = 82
WRONG = np.array([224, 49, 49], np.uint8)
"""Pixels that truth and result label differently."""
RIGHT = np.array([64, 160, 96], np.uint8)


class Entry(NamedTuple):
    """An evaluation with what it was made from."""

    name: str
    evaluation: Evaluation
    truths: Sequence[Truth]
    results: Sequence[Result]


def points(value: float | None) -> str:
    """A score of 0..1 in points of 100."""
    return "" if value is None else f"{100 * value:.1f}"


def columns_of(scores: Sequence[Average]) -> list[str]:
    """The titles of the scores that any of ``scores`` has."""
    return [title for title, name in COLUMNS.items() if any(getattr(each, name) is not None for each in scores)]


def comparison_table(entries: Sequence[Entry]) -> Table:
    """One row per results folder."""
    averages = [entry.evaluation.overall for entry in entries]
    titles, fast = columns_of(averages), any(entry.evaluation.frames_per_second for entry in entries)
    table = _table("results", "objects", *titles, *(["frames/s"] if fast else []))
    for entry in entries:
        found = entry.evaluation
        speed = [f"{found.frames_per_second:.1f}" if found.frames_per_second else ""] if fast else []
        table.add_row(entry.name, str(found.overall.objects), *_values(found.overall, titles), *speed)
    return table


def group_tables(evaluation: Evaluation) -> Iterator[Table]:
    """A table for each attribute that scores are grouped by."""
    titles = columns_of([evaluation.overall])
    for name, groups in evaluation.groups.items():
        table = _table(name, "objects", *titles)
        for value, score in groups.items():
            table.add_row(value, str(score.objects), *_values(score, titles))
        yield table


def _table(first: str, *others: str) -> Table:
    table = Table(first, *others)
    table.columns[0].min_width = len(first)
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[0].overflow = "fold"
    return table


def _values(score: Average, titles: Sequence[str]) -> list[str]:
    return [points(getattr(score, COLUMNS[title])) for title in titles]


def video_average(video: VideoScore) -> Average:
    """A video's scores, averaged over its objects."""
    return average(video.objects)


def write_files(entry: Entry, out: Path, split: str | None) -> list[Path]:
    """Write ``evaluation.json``, and the CSV files of the protocol's published code, into ``out``."""
    evaluation = entry.evaluation
    written = [out / "evaluation.json"]
    write_sealed(written[0], evaluation.model_dump_json(indent=2) + "\n")
    if evaluation.protocol == "davis17":
        mean, subset = evaluation.overall, split or "all"
        header = ["J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay"]
        row = [mean.jf, mean.j, mean.j_recall, mean.j_decay, mean.f, mean.f_recall, mean.f_decay]
        written.append(out / f"global_results-{subset}.csv")
        write_sealed(written[-1], _csv([header, [f"{value:.3f}" for value in row]]))
        rows = [
            [f"{score.video}_{score.object}", f"{score.j:.3f}", f"{score.f:.3f}"]
            for video in evaluation.videos
            for score in video.objects
        ]
        written.append(out / f"per-sequence_results-{subset}.csv")
        write_sealed(written[-1], _csv([["Sequence", "J-Mean", "F-Mean"], *rows]))
    if evaluation.protocol == "vos-benchmark":
        rows = [["sequence", "obj", "J&F", "J", "F"], ["Global score", "", *_percent(evaluation.overall)]]
        rows += [
            [score.video, f"{score.object:03d}", *_percent(score)]
            for video in evaluation.videos
            for score in video.objects
        ]
        written.append(out / "results.csv")
        write_sealed(written[-1], _csv(rows))
    return written


def _percent(score: ScoreValues) -> list[str]:
    return [f"{100 * getattr(score, name):.1f}" for name in ("jf", "j", "f")]


def _csv(rows: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def remove_earlier(out: Path) -> None:
    """Remove the files of an earlier evaluation from ``out``, so that none of them stands beside a later one's."""
    if (out / PAGE).exists():
        for pattern in (PAGE, "evaluation.json", "results.csv", "global_results-*.csv", "per-sequence_results-*.csv"):
            for path in out.glob(pattern):
                path.unlink()


def write_page(entries: Sequence[Entry], path: Path, notes: Sequence[str] = ()) -> Path:
    """Write the HTML page of one or several evaluations of the same truth; returns ``path``.

    It needs no other file. ``notes``: further lines, such as how the results were made.
    """
    with extra("report", "the page of an evaluation needs jinja2"):
        import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tools.inspect", ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["points"] = points
    shown = [
        {
            "name": entry.name,
            "evaluation": entry.evaluation,
            "titles": columns_of([entry.evaluation.overall]),
            "videos": sorted(
                ((video.video, video_average(video)) for video in entry.evaluation.videos), key=lambda pair: pair[1].jf
            ),
            "objects": sorted(
                (score for video in entry.evaluation.videos for score in video.objects), key=lambda score: score.jf
            ),
            "worst": list(_worst_pictures(entry)),
        }
        for entry in entries
    ]
    html = environment.get_template("evaluation.html.jinja").render(
        entries=shown,
        columns=COLUMNS,
        titles=columns_of([entry.evaluation.overall for entry in entries]),
        plot=_speed_plot(entries),
        notes=notes,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )
    write_sealed(path, html)
    return path


def _worst_pictures(entry: Entry) -> Iterator[dict[str, str]]:
    """The worst frame of each of the worst videos: truth, result, and where they differ."""
    by_video = {truth.id: (truth, result) for truth, result in zip(entry.truths, entry.results, strict=True)}
    ranked = sorted((video for video in entry.evaluation.videos if video.worst), key=lambda video: video.worst[0].jf)
    for video in ranked[:WORST_VIDEOS]:
        truth, result = by_video[video.video]
        worst = video.worst[0]
        t = truth.names.index(worst.frame)
        needed = np.zeros(len(truth.names), bool)
        needed[t] = True
        masks, found = truth.masks(), result.read(truth, needed, allow_missing=True)[0]
        sample = Sample(truth.id, truth.names, masks, found, truth.listed)
        sample = PROTOCOLS[entry.evaluation.protocol].prepare(sample)
        frame = truth.frame(t)
        yield {
            "caption": f"{video.video}, frame {worst.frame}: J&F {points(worst.jf)}",
            "image": _data_uri(_triptych(frame, sample.truth[t], sample.found[t])),
        }


def _triptych(frame: np.ndarray | None, expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Truth, result and errors side by side, uint8 ``[h, w, 3]``."""
    expected, found = (shrink_labels(mask, LONGEST_SIDE) for mask in (expected, found))
    frame = np.full((*expected.shape, 3), 40, np.uint8) if frame is None else shrink(frame, LONGEST_SIDE)
    grey = np.repeat(frame.mean(axis=2, keepdims=True).astype(np.uint8) // 2, 3, axis=2)
    grey[(expected == found) & (expected > 0)] = RIGHT
    grey[expected != found] = WRONG
    gap = np.full((len(frame), 6, 3), 255, np.uint8)
    return np.concatenate([overlay(frame, expected), gap, overlay(frame, found), gap, grey], axis=1)


def _data_uri(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _speed_plot(entries: Sequence[Entry]) -> str:
    """An SVG of J&F against frames per second, or nothing unless at least two results record their speed."""
    timed = [(entry.name, entry.evaluation.frames_per_second, entry.evaluation.overall) for entry in entries]
    points = [(name, speed, 100 * overall.jf) for name, speed, overall in timed if speed]
    if len(points) < 2:
        return ""
    from tools.inspect.charts import speed_chart

    return speed_chart(points, "speed")
