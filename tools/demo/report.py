"""The report of a demo run: one self-contained HTML file from plain data. It computes no scores."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from tools.inspect.charts import loss_chart, round_chart
from tools.inspect.overlay import LINE_PALETTE, PALETTE, outline, scribble_layer, shrink, shrink_labels, shrunk_size
from vosforge.extras import extra
from vosforge.files import write_sealed
from vosforge.terms import VOID

with extra("report", "the report needs jinja2"):
    import jinja2
    from markupsafe import Markup

GATE_POINTS = 10.0
"""Minimum gain in J&F points (of 100) over the initialisation on the held-out videos."""
LONGEST_SIDE = 512
"""Maximum size of frames, so that a report stays a few megabytes."""
OUTLINED_OBJECTS = 127


@dataclass(frozen=True)
class RoundScore:
    """J, F and their mean J&F after one round, 0 to 1."""

    j: float
    f: float
    jf: float


@dataclass(frozen=True)
class VideoScores:
    """One video's scores, round by round, of the trained networks and of the same networks at initialisation.

    They are means over its ``objects`` and all frames, as in the DAVIS interactive benchmark. ``shipped``: those of the
    shipped networks, on the video that they were shown.
    """

    name: str
    kind: Literal["held-out", "real"]
    trained: tuple[RoundScore, ...]
    initial: tuple[RoundScore, ...]
    objects: int = 1
    shipped: tuple[RoundScore, ...] = ()


@dataclass(frozen=True)
class RenderSummary:
    """Statistics of rendering and results of the image checks."""

    videos: int
    frames: int
    seconds: float
    frames_per_second: float
    black_frames: int
    maskless_frames: int
    redrawn: int
    """Videos redrawn after a failed check."""


@dataclass(frozen=True)
class ContactSheet:
    """A picture for the report: ``image`` uint8 [h, w, 3]."""

    caption: str
    image: np.ndarray


@dataclass(frozen=True)
class InteractiveRound:
    """The state after one interaction: ``masks`` uint8 [T, H, W]; ``scribbles`` int [H, W] (-1 none, 0 background)."""

    masks: np.ndarray
    scribbles: np.ndarray | None = None
    scribbled_frame: int | None = None
    jf: float | None = None


@dataclass(frozen=True)
class InteractiveResult:
    """One video, segmented interactively: ``frames`` uint8 [T, H, W, 3], ``ground_truth`` uint8 [T, H, W]."""

    name: str
    frames: np.ndarray
    rounds: tuple[InteractiveRound, ...]
    ground_truth: np.ndarray | None = None


@dataclass(frozen=True)
class Stage:
    """Duration of a stage; ``note`` tells, for example, that an earlier result was reused."""

    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class AssetCredit:
    """An asset that was used, with its licence and whom to thank."""

    name: str
    licence: str
    creator: str


@dataclass(frozen=True)
class DemoReport:
    """Everything a report shows. ``losses``: network to (step, loss) pairs; ``created``: a readable date."""

    title: str
    created: str
    renders: RenderSummary
    contact_sheets: Sequence[ContactSheet]
    losses: Mapping[str, Sequence[tuple[int, float]]]
    scores: Sequence[VideoScores]
    interactive: Sequence[InteractiveResult]
    stages: Sequence[Stage] = ()
    settings: Sequence[tuple[str, str]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    credits: Sequence[AssetCredit] = ()
    commands: Sequence[str] = ()


@dataclass(frozen=True)
class Check:
    """One check of the demo: requirement, result, and whether it passed."""

    asked: str
    found: str
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """Mean J&F (0 to 1) over the objects of the held-out videos after their last round, and the demo's conditions.

    ``trained`` and ``initial`` are None when no held-out video was scored; the run then counts as failed.
    """

    trained: float | None
    initial: float | None
    checks: tuple[Check, ...]

    @property
    def gain(self) -> float | None:
        """J&F points (of 100) that training added."""
        return None if self.trained is None or self.initial is None else 100 * (self.trained - self.initial)

    @property
    def passed(self) -> bool:
        """Whether every condition holds."""
        return all(check.passed for check in self.checks)


def judge(renders: RenderSummary, scores: Sequence[VideoScores]) -> Verdict:
    """The demo's verdict: the gain over the initialisation on held-out videos, and pictures neither black nor bare."""
    held_out = [video for video in scores if video.kind == "held-out" and video.trained and video.initial]
    trained = initial = None
    found, enough = "no held-out video was scored", False
    if held_out:
        trained = _over_objects([video.trained[-1].jf for video in held_out], held_out)
        initial = _over_objects([video.initial[-1].jf for video in held_out], held_out)
        gain = 100 * (trained - initial)
        # Written so that a score that is not a number fails.
        enough = gain >= GATE_POINTS
        found = f"{gain:+.1f} points"
    checks = (
        Check(f"Training adds at least {GATE_POINTS:g} J&F points on the held-out videos", found, enough),
        Check("Something was rendered", _count(renders.frames, "frame"), renders.frames > 0),
        Check("No frame is black", _count(renders.black_frames, "black frame"), renders.black_frames == 0),
        Check(
            "Every frame shows an object",
            f"{_count(renders.maskless_frames, 'frame')} without one",
            renders.maskless_frames == 0,
        ),
    )
    return Verdict(trained, initial, checks)


def write_report(path: Path, report: DemoReport) -> Path:
    """Write ``report`` as one self-contained HTML file at ``path`` (whole or not at all) and return ``path``."""
    source = resources.files("tools.demo").joinpath("report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(points=_points, seconds=_seconds, thousands=lambda value: f"{value:,}")
    page = environment.from_string(source).render(
        report=report,
        verdict=judge(report.renders, report.scores),
        sheets=[(sheet.caption, _data_uri(_jpeg(sheet.image, 88), "jpeg")) for sheet in report.contact_sheets],
        losses=[_loss(network, curve, i) for i, (network, curve) in enumerate(report.losses.items())],
        groups=_score_groups(report.scores),
        players=[_player(result) for result in report.interactive],
    )
    write_sealed(path, page)
    return path


def _loss(network: str, curve: Sequence[tuple[int, float]], number: int) -> dict[str, Any]:
    return {
        "network": network,
        "chart": Markup(loss_chart(curve, f"loss-{number}")),
        "steps": len(curve),
        "broken": sum(not math.isfinite(loss) for _, loss in curve),
    }


def _score_groups(scores: Sequence[VideoScores]) -> list[dict[str, Any]]:
    """Videos of one kind together, each with its chart, after the mean of its kind where there are several."""
    groups = []
    for kind, title in (("held-out", "Held-out renders"), ("real", "Real videos")):
        videos = [video for video in scores if video.kind == kind]
        if len(videos) > 1:
            objects = sum(video.objects for video in videos)
            trained, initial = (_mean(videos, which) for which in ("trained", "initial"))
            name = f"Mean over {_count(objects, 'object')}"
            videos.insert(0, VideoScores(name, videos[0].kind, trained, initial, objects))
        rows: list[dict[str, Any]] = []
        for i, video in enumerate(videos):
            curves = [[100 * score.jf for score in which] for which in (video.trained, video.initial, video.shipped)]
            chart = round_chart(curves[0], curves[1], f"rounds-{kind}-{i}", curves[2])
            rows.append({"scores": video, "chart": Markup(chart)})
        if rows:
            rounds = max(len(which) for video in videos for which in (video.trained, video.initial))
            groups.append({"title": title, "videos": rows, "rounds": rounds})
    return groups


def _mean(videos: Sequence[VideoScores], which: Literal["trained", "initial"]) -> tuple[RoundScore, ...]:
    """The mean over objects of each round that all videos have."""
    return tuple(
        RoundScore(*(_over_objects([getattr(score, name) for score in scores], videos) for name in ("j", "f", "jf")))
        for scores in zip(*(getattr(video, which) for video in videos), strict=False)
    )


def _over_objects(values: Sequence[float], videos: Sequence[VideoScores]) -> float:
    """The mean over objects of values per video."""
    weights = [video.objects for video in videos]
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _player(result: InteractiveResult) -> dict[str, Any]:
    """The page player's data of one video; every image is a data URI of equal size."""
    frames = [shrink(frame, LONGEST_SIDE) for frame in result.frames]
    height, width = frames[0].shape[:2]
    rounds = [
        {
            "masks": [_mask_uri(mask) for mask in state.masks],
            "scribbles": None if state.scribbles is None else _scribbles_uri(state.scribbles),
            "frame": state.scribbled_frame,
            "jf": None if state.jf is None else _points(state.jf),
        }
        for state in result.rounds
    ]
    truth = result.ground_truth
    return {
        "name": result.name,
        "width": width,
        "height": height,
        "frames": [_data_uri(_jpeg(frame, 82), "jpeg") for frame in frames],
        "truth": None if truth is None else [_mask_uri(mask) for mask in truth],
        "rounds": rounds,
    }


def _mask_uri(mask: np.ndarray) -> str:
    """A palette PNG that can be laid over its frame: clear background, half-clear objects, solid outlines."""
    labels = shrink_labels(mask, LONGEST_SIDE).astype(np.int64)
    labels[labels == VOID] = 0
    # Entry j fills object j and entry 128 + j outlines it. Objects past 127 are rare and share colours.
    labels = np.where(labels > OUTLINED_OBJECTS, (labels - 1) % OUTLINED_OBJECTS + 1, labels)
    entries = np.where(outline(labels), labels + OUTLINED_OBJECTS + 1, labels).astype(np.uint8)
    half = OUTLINED_OBJECTS + 1
    image = Image.fromarray(entries, mode="P")
    image.putpalette(np.vstack([PALETTE[:half], LINE_PALETTE[:half]]).tobytes())
    clear = bytes([0] + [128] * OUTLINED_OBJECTS + [255] * half)
    return _data_uri(_encoded(image, "PNG", optimize=True, transparency=clear), "png")


def _scribbles_uri(scribbles: np.ndarray) -> str:
    """The strokes as a clear PNG of the size the frame is shown at; thin strokes survive the scaling."""
    tall, wide = scribbles.shape
    height, width = shrunk_size(tall, wide, LONGEST_SIDE)
    rows, columns = np.nonzero(scribbles >= 0)
    shown = np.full((height, width), -1)
    shown[rows * height // tall, columns * width // wide] = scribbles[rows, columns]
    return _data_uri(_encoded(Image.fromarray(scribble_layer(shown)), "PNG", optimize=True), "png")


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    return _encoded(Image.fromarray(image), "JPEG", quality=quality, optimize=True)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds:02d} s"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
