"""What a data set asks of trackers: its amounts summed up, beside the targets of ``diverse`` and real sets' figures."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from vosforge.videos.amounts import VideoAmounts

REAL_SETS = json.loads((files("tools.inspect") / "real_sets.json").read_text())
"""Published figures of real data sets: ``source``, names of ``sets``, and ``quantities`` by the names of `Tally`."""
SMALL, TINY = 0.01, 0.001
"""Shares of the image under which a mask is small, or tiny."""
FAST, VERY_FAST = 20.0, 60.0
"""Pixels a frame at 480 rows over which motion is fast, or very fast."""
HEAVY = 0.6
"""Hidden share over which occlusion is heavy."""
LONG_BLUR = 5.0
"""Pixels at 480 rows over which blur is long."""


@dataclass
class Tally:
    """Sums of amounts over videos; each mean is that of what is known."""

    sums: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    least: dict[str, float] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)

    def add(self, video: VideoAmounts, shares: np.ndarray) -> None:
        """Count a video. shares: of the image, of each mask that shows an object, ``[N]``."""
        objects = [item for item in video.objects if item.first is not None]
        absent = [item for item in objects if item.absent]
        hidden = [item.occlusion for item in objects]
        self._count("absent", (item.absent for item in objects))
        self._count("returns", (bool(item.gaps) for item in absent))
        self._count("back", (bool(item.gaps) for item in objects))
        self._count("small", (shares < SMALL).tolist())
        self._count("tiny", (shares < TINY).tolist())
        self._count("occlusion", hidden)
        self._count("heavy", (_over(share, HEAVY) for share in hidden))
        self._count("fast", (_over(item.motion, FAST) for item in objects))
        self._count("very_fast", (_over(item.motion, VERY_FAST) for item in objects))
        self._count("varies", (item.varies for item in objects))
        self._count("camouflaged", (item.camouflaged for item in video.objects))
        self._count("deforming", (item.deforming for item in video.objects))
        self._count("lookalikes", (item.lookalikes for item in objects if item.first == 0))
        like = video.lookalikes
        if like is not None:
            self._count("like_none", [like == 0])
            self._count("like_few", [1 <= like <= 3])
            self._count("like_many", [like > 3])
        self._count("objects", [len(video.objects if video.distractors is not None else objects)])
        self._count("distractors", [video.distractors])
        self._count("conditions", [None if video.conditions is None else bool(video.conditions)])
        self._count("blurred", [_over(video.blur, LONG_BLUR)])

    def forget(self, *names: str) -> None:
        """Leave out what was counted under these names."""
        for name in names:
            self.counts.pop(name, None)

    def mean(self, name: str) -> float:
        """The mean, or the share of what is true; NaN of nothing."""
        return self.sums[name] / self.counts[name] if self.counts[name] else np.nan

    def _count(self, name: str, values: Iterable[float | bool | None]) -> None:
        known = [value for value in values if value is not None]
        if known:
            self.sums[name] += sum(known)  # type: ignore[assignment]
            self.counts[name] += len(known)
            self.least[name] = min(self.least.get(name, np.inf), *known)
            self.most[name] = max(self.most.get(name, -np.inf), *known)


def _over(value: float | None, limit: float) -> bool | None:
    return None if value is None else value > limit


class Line(NamedTuple):
    """A line of the table: a share or mean of a tally, or a median of a distribution, and its range in ``diverse``."""

    title: str
    name: str
    low: float
    high: float
    target: str
    kind: str = "share"
    """share, median or range."""
    needs: str = ""
    """What a video needs for it."""


def _fifth(value: float) -> tuple[float, float]:
    return 0.8 * value, 1.2 * value


LABELS, AMODAL, RECIPE = "labels", "amodal masks", "a recipe"
LINES = (
    Line("objects absent in a frame after their first", "absent", 0.35, 0.55, "45 % ± 10", needs=LABELS),
    Line("of these, those that return", "returns", 0.6, 0.8, "70 % ± 10", needs="labels of absent objects"),
    Line("masks under 1 % of the image", "small", 0.33, 0.47, "40 % ± 7", needs=LABELS),
    Line("masks under 0.1 % of the image", "tiny", 0.05, 0.11, "8 % ± 3", needs=LABELS),
    Line("scenes with 0 look-alikes in frame 1", "like_none", *_fifth(0.4), "40 %", needs=RECIPE),
    Line("scenes with 1–3 look-alikes", "like_few", *_fifth(0.4), "40 %", needs=RECIPE),
    Line("scenes with 4 or more look-alikes", "like_many", *_fifth(0.2), "20 %", needs=RECIPE),
    Line("hidden share of an object, mean", "occlusion", 0.25, 0.35, "30 % ± 5", needs=AMODAL),
    Line("objects hidden by more than 60 %", "heavy", *_fifth(0.15), "15 %", needs=AMODAL),
    Line("labelled objects a scene", "objects", 1, 12, "1–12", "range", needs=LABELS),
    Line("labelled objects a scene, median", "objects", 3, 3, "3", "median", needs=LABELS),
    Line("distractors a scene", "distractors", 0, 20, "0–20", "range", needs=RECIPE),
    Line("motion, median, px a frame at 480 rows", "speed", *_fifth(4), "4", "median", needs=LABELS),
    Line("objects that move over 20 px", "fast", *_fifth(0.2), "20 %", needs=LABELS),
    Line("objects that move over 60 px", "very_fast", *_fifth(0.03), "3 %", needs=LABELS),
    Line("objects with scale change outside [0.5, 2]", "varies", *_fifth(0.35), "35 %", needs=LABELS),
    Line("camouflaged objects", "camouflaged", *_fifth(0.1), "10 %", needs=RECIPE),
    Line("deforming or articulated objects", "deforming", *_fifth(0.3), "30 %", needs=RECIPE),
    Line("scenes with night, fog or exposure drift", "conditions", *_fifth(0.15), "15 %", needs=RECIPE),
    Line("scenes with blur over 5 px at 480 rows", "blurred", *_fifth(0.25), "25 %", needs=RECIPE),
)
"""The amounts of ``diverse``; without ± they hold within a fifth."""
ROUNDING = 1e-9
COLUMNS = ("amount", "n", "measured", "target", "met")


def amount_rows(tally: Tally, median: Callable[[str], float], targets: bool) -> list[list[str]]:
    """A line for each of `LINES`, as texts; the columns are `COLUMNS`, the last two with ``targets`` only.

    median: of a quantity by its name, NaN of nothing.
    """
    rows = []
    for line in LINES:
        shown, met = _measured(line, tally, median)
        count = tally.counts["fast" if line.name == "speed" else line.name]
        rows.append([line.title, f"{count:,}", shown, *([line.target, met] if targets else [])])
    return rows


def _measured(line: Line, tally: Tally, median: Callable[[str], float]) -> tuple[str, str]:
    """What is measured for a line, and whether it is within its range."""
    if line.kind == "range":
        least, most = tally.least.get(line.name, np.nan), tally.most.get(line.name, np.nan)
        shown = f"{least:g}–{most:g}"
    else:
        least = most = median(line.name) if line.kind == "median" else tally.mean(line.name)
        shown = f"{least:.3g}" if line.kind == "median" else f"{100 * least:.1f} %"
    if not np.isfinite(least):
        return f"– (needs {line.needs})", "–"
    return shown, "yes" if line.low - ROUNDING <= least and most <= line.high + ROUNDING else "no"


def beside_real_sets(tally: Tally, frames: float) -> dict[str, float]:
    """The data set's own values of the quantities of `REAL_SETS`, where known; frames: the mean number a video."""
    own = {name: tally.mean(name) * 100 for name in ("absent", "back", "small", "occlusion")}
    own |= {name: tally.mean(name) for name in ("lookalikes", "objects")} | {"frames": frames}
    return {name: own[name] for name in REAL_SETS["quantities"] if np.isfinite(own[name])}
