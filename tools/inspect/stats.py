"""Statistics of a data set: one pass over its tables in constant memory, no frame decoded where amounts are recorded.

Every quantity is counted into the bins of a histogram, from which quantiles are read: to 1.5 % of their value, or
1/400 of the range of a share.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from tools.inspect.amounts import COLUMNS, Tally, amount_rows
from vosforge.amounts import within_shots
from vosforge.errors import InputError, VOSForgeError
from vosforge.progress import progress
from vosforge.videos import Place, ShardSet, ShardVideo
from vosforge.videos.amounts import VideoAmounts, amounts_of, recorded_amounts
from vosforge.videos.reader import DAMAGE
from vosforge.videos.texts import read_texts
from vosforge.videos.verify import check_tables

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS_A_DECADE = 80
MAX_VALUES = 24
"""An attribute with more different values gets no group for each of them."""
MEASURED_VIDEOS = 1000
"""Amounts that no record has are measured of about so many videos, spread evenly: it takes up to a second each."""
STANDSTILL = 0.01
"""Moves below this, in pixels, count as none in a logarithmic histogram."""


@dataclass(frozen=True)
class Quantity:
    """A quantity to count: its title, and the range and spacing of its bins."""

    title: str
    least: float
    most: float
    spacing: str = "log"

    def edges(self) -> np.ndarray:
        """The bins' edges, float64 ``[N + 1]``; whole numbers stand in the middle of theirs."""
        if self.spacing == "whole":
            return np.arange(self.least, self.most + 2) - 0.5
        if self.spacing == "even":
            half = (self.most - self.least) / 400  # 0 and 1 stand in the middle of a bin, as many values do
            return np.linspace(self.least - half, self.most + half, 202)
        decades = np.log10(self.most / self.least)
        return np.geomspace(self.least, self.most, round(BINS_A_DECADE * decades) + 1)


QUANTITIES = {
    "frames": Quantity("frames a video", 1, 1e5),
    "objects": Quantity("objects a video", 0, 255, "whole"),
    "size": Quantity("object's share of the frame, where seen", 1e-7, 1),
    "seen": Quantity("share of the frames an object is seen in", 0, 1, "even"),
    "returns": Quantity("times an object comes back", 0, 100, "whole"),
    "border": Quantity("share of an object's boxes at the border", 0, 1, "even"),
    "visibility": Quantity("share of an object not hidden by others", 0, 1, "even"),
    "motion": Quantity("motion of a box, pixels a frame", STANDSTILL, 1e4),
    "relative_motion": Quantity("motion of a box, diagonals a frame", 1e-5, 2),
    "camera_path": Quantity("camera's path, metres", 1e-4, 1e4),
    "rgb_bytes": Quantity("bytes a frame, colours", 10, 1e9),
    "mask_bytes": Quantity("bytes a frame, masks", 1, 1e9),
    "darkest": Quantity("mean brightness of the darkest frame, of 255", 0, 255, "even"),
    "gap": Quantity("frames an object is away before it returns", 1, 1e5),
    "occlusion": Quantity("hidden share of an object, mean over its frames", 0, 1, "even"),
    "lookalikes": Quantity("look-alikes in frame 1, of the object with most", 0, 255, "whole"),
    "distractors": Quantity("distractors a scene", 0, 255, "whole"),
    "speed": Quantity("motion of an object, pixels a frame at 480 rows", STANDSTILL, 1e4),
    "scale_change": Quantity("scale change: area, relative to the first", 1e-3, 1e3),
    "contrast": Quantity("colour difference to the 15 pixels around, of 255", 0, 255, "even"),
    "deformation": Quantity("deviation of a deforming object from a rigid fit", 0, 1, "even"),
    "blur": Quantity("blur length where shutters are open, pixels at 480 rows", STANDSTILL, 1e4),
}


class Distribution:
    """Values counted in bins, with their exact count, mean and ends."""

    def __init__(self, quantity: Quantity) -> None:
        self.quantity, self.edges = quantity, quantity.edges()
        self.counts = np.zeros(len(self.edges) - 1, np.int64)
        self.count, self.total = 0, 0.0
        self.least, self.most = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        """Count finite ``values`` ``[N]``; those beyond the bins count in the outermost ones."""
        if values.size:
            place = np.searchsorted(self.edges, values, side="right") - 1
            self.counts += np.bincount(place.clip(0, len(self.counts) - 1), minlength=len(self.counts))
            self.count += values.size
            self.total += float(values.sum())
            self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))

    @property
    def mean(self) -> float:
        """The exact mean; NaN of nothing."""
        return self.total / self.count if self.count else np.nan

    def quantile(self, share: float) -> float:
        """The value that ``share`` of the values are not above, to within a bin; NaN of nothing."""
        if not self.count:
            return np.nan
        upto = np.cumsum(self.counts)
        bin_ = int(np.searchsorted(upto, max(share * self.count, 1e-9)))
        value = (self.edges[bin_] + self.edges[bin_ + 1]) / 2
        return float(np.clip(value, self.least, self.most))


class Summary:
    """Videos, frames and objects of a group of videos, and how their quantities are distributed."""

    def __init__(self) -> None:
        self.videos = self.frames = self.objects = 0
        self.distributions = {name: Distribution(quantity) for name, quantity in QUANTITIES.items()}

    def add(self, video: ShardVideo, measured: dict[str, np.ndarray]) -> None:
        """Count a video with what ``measure`` found."""
        self.videos += 1
        self.frames += video.num_frames
        self.objects += int(measured["objects"].sum())
        for name, values in measured.items():
            self.distributions[name].add(values)


Credit = tuple[str, str, str, str]
"""Name, source, licence, creator."""


@dataclass
class Stats:
    """All statistics of a data set."""

    path: Place
    whole: Summary = field(default_factory=Summary)
    groups: dict[str, dict[str, Summary]] = field(default_factory=lambda: defaultdict(dict))
    """By "split", "preset" and each attribute of the scenes, then by its value."""
    crowded: set[str] = field(default_factory=set)
    """Attributes with too many values for groups."""
    sizes: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    """Objects of each."""
    makers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Videos by renderer, VOSForge version and processor."""
    credits: Counter[Credit] = field(default_factory=Counter)
    """Videos in which each asset is seen."""
    tally: Tally = field(default_factory=Tally)
    """What it asks of trackers."""
    unmeasured: int = 0
    """Videos without recorded amounts that are left out of it, see `MEASURED_VIDEOS`."""
    gaps: dict[str, str] = field(default_factory=dict)
    """Missing or unreadable videos, and why."""
    rendered: int = 0

    @property
    def diverse(self) -> bool:
        """Whether all its videos are of the preset whose targets are known."""
        return self.rendered == self.whole.videos and set(self.groups["preset"]) == {"diverse"}

    def amount_rows(self) -> list[list[str]]:
        """The table of its amounts, with targets if it is ``diverse``."""
        return amount_rows(self.tally, lambda name: self.whole.distributions[name].quantile(0.5), self.diverse)

    @property
    def amount_title(self) -> str:
        """The table's title."""
        left_out = f" ({self.unmeasured:,} videos without a record are left out)" if self.unmeasured else ""
        return f"what it asks of trackers{left_out}"

    @property
    def amount_columns(self) -> tuple[str, ...]:
        """The table's titles."""
        return COLUMNS if self.diverse else COLUMNS[:3]


def collect_stats(path: Place) -> Stats:
    """Go once through the data set's folder or shard at ``path``. Raises InputError when it holds no video."""
    shards, stats = ShardSet(path), Stats(path)
    if not shards.videos:
        raise InputError(f"{path} holds no finished video: render some first")
    stats.gaps = {row.id: row.reason or "no reason recorded" for row in shards.quarantined}
    step = -(-len(shards.videos) // MEASURED_VIDEOS)
    with progress("reading", len(shards.videos)) as bar:
        for place, video in enumerate(shards):
            try:
                _add(stats, video, place % step == 0)
            except VOSForgeError as error:
                stats.gaps[video.id] = f"cannot be read: {error}"
            except DAMAGE as error:
                stats.gaps[video.id] = f"cannot be read: {error}; 'vosforge verify' says more"
            bar.advance(video.id)
    return stats


def measure(video: ShardVideo) -> dict[str, np.ndarray]:
    """The values of each quantity of one video, float64 ``[N]``: one a video, object, or moment of an object.

    Raises VOSForgeError when a table is missing or damaged.
    """
    check_tables(video)
    group, row = video.group, video.row
    area, box = group["objects/visible_area"][()], group["objects/box"][()].astype(float)
    seen = area > 0
    # An import may leave labels out (38, 75, 113); a rendered object that is never seen is there all the same.
    there = np.ones(row.num_objects, bool) if video.spec_json else seen.any(axis=0)
    first = np.maximum.accumulate(seen, axis=0)
    back = seen[1:] & ~seen[:-1] & first[:-1]
    at_border = (box[..., :2] <= 0).any(axis=2) | (box[..., 2] >= row.width) | (box[..., 3] >= row.height)
    moments = seen.sum(axis=0)
    moved = within_shots(np.linalg.norm(np.diff((box[..., :2] + box[..., 2:]) / 2, axis=0), axis=2), video.cuts)
    moved = moved[np.isfinite(moved)]
    measured = {
        "frames": np.array([row.num_frames]),
        "objects": np.array([there.sum()]),
        "size": area[seen] / (row.height * row.width),
        "seen": seen.mean(axis=0)[there],
        "returns": back.sum(axis=0)[there],
        "border": (at_border & seen).sum(axis=0)[moments > 0] / moments[moments > 0],
        "motion": moved,
        "relative_motion": moved / np.hypot(row.height, row.width),
        "mask_bytes": np.array([group["mask"].id.get_storage_size() / row.num_frames]),
    }
    if row.colors:
        measured |= {"rgb_bytes": np.array([row.bytes / row.num_frames]), "darkest": np.array([row.darkest])}
    if "objects/visibility" in group:
        visibility = group["objects/visibility"][()].ravel()
        measured["visibility"] = visibility[np.isfinite(visibility)]
    if "camera/world_to_camera" in group:
        places = np.linalg.inv(group["camera/world_to_camera"][()])[:, :3, 3]
        steps = within_shots(np.linalg.norm(np.diff(places, axis=0), axis=1), video.cuts)
        measured["camera_path"] = np.nansum(steps, keepdims=True)
    return {name: np.asarray(values, float) for name, values in measured.items()}


def measured_amounts(found: VideoAmounts) -> dict[str, np.ndarray]:
    """The values of the quantities that a video's amounts have, as ``measure``."""
    objects = found.objects
    measured: dict[str, list[float | None]] = {
        "gap": [gap for item in objects for gap in item.gaps],
        "occlusion": [item.occlusion for item in objects],
        "lookalikes": [found.lookalikes],
        "distractors": [found.distractors],
        "speed": [item.motion for item in objects],
        "scale_change": [item.scale for item in objects],
        "contrast": [item.contrast for item in objects],
        "deformation": [item.deformation for item in objects if item.deforming],
        "blur": [item.blur or None for item in objects],
    }
    return {name: np.array([value for value in values if value is not None]) for name, values in measured.items()}


def _add(stats: Stats, video: ShardVideo, chosen: bool) -> None:
    """Count a video; ``chosen``: whether its amounts are measured if there is no record of them."""
    measured, attributes = measure(video), video.attributes
    found = amounts_of(video) if chosen else recorded_amounts(video)
    if found is not None:
        measured |= measured_amounts(found)
    scene = json.loads(video.spec_json) if video.spec_json else {}
    labels = {"split": str(video.row.split)}
    if scene:
        stats.rendered += 1
        labels |= {"preset": str(scene.get("preset", ""))}
        labels |= {name: _label(value) for name, value in scene.get("attributes", {}).items()}
    stats.whole.add(video, measured)
    if found is not None:
        stats.tally.add(found, measured["size"])
    stats.unmeasured += found is None
    for name, label in labels.items():
        _add_to_group(stats, name, label, video, measured)
    stats.sizes[f"{video.width}×{video.height}"] += 1
    stats.categories.update(read_texts(video.group["objects/category"]))
    renderer, version, cpu = _texts(attributes, "renderer", "vosforge", "cpu")
    stats.makers[renderer, version, cpu] += 1
    for credit in attributes.get("credits", []):
        name, source, licence, creator = _texts(credit, "name", "source", "licence", "creator")
        stats.credits[name, source, licence, creator] += 1


def _add_to_group(stats: Stats, name: str, label: str, video: ShardVideo, measured: dict[str, np.ndarray]) -> None:
    group = stats.groups[name]
    if label not in group:
        if len(group) >= MAX_VALUES or name in stats.crowded:
            stats.crowded.add(name)
            group.clear()
            return
        group[label] = Summary()
    group[label].add(video, measured)


def _label(value: Any) -> str:
    """An attribute's value as a group; numbers to one digit, so that they make groups at all."""
    return f"about {value:.1g}" if isinstance(value, float) else str(value)


def _texts(values: dict[str, Any], *names: str) -> list[str]:
    return [str(values.get(name, "")) for name in names]


def quantities_rows(summary: Summary) -> list[list[str]]:
    """A line for each quantity that has values: title, how many, mean, quantiles, as texts."""
    return [
        [found.quantity.title, f"{found.count:,}", *(_number(value) for value in (found.mean, *_quantiles(found)))]
        for found in summary.distributions.values()
        if found.count
    ]


GROUP_COLUMNS = ("videos", "frames", "objects", "size", "seen", "returns", "motion, px", "camera, m")


def group_rows(groups: dict[str, Summary]) -> list[list[str]]:
    """A line for each group: its name, counts, and means of some quantities, as texts."""
    names = ("size", "seen", "returns", "motion", "camera_path")
    return [
        [
            label,
            *(f"{count:,}" for count in (summary.videos, summary.frames, summary.objects)),
            *(_number(summary.distributions[name].mean) for name in names),
        ]
        for label, summary in sorted(groups.items())
    ]


QUANTITY_COLUMNS = ("quantity", "n", "mean", *(f"q{round(100 * share):02d}" for share in QUANTILES))


def stats_tables(stats: Stats) -> list[Table]:
    """Tables for the terminal: the quantities, then one table per grouping."""
    tables = [_table(None, QUANTITY_COLUMNS, quantities_rows(stats.whole))]
    tables.append(_table(stats.amount_title, stats.amount_columns, stats.amount_rows()))
    for name, groups in stats.groups.items():
        if groups:
            tables.append(_table(f"means by {name}", (name, *GROUP_COLUMNS), group_rows(groups)))
    counted = [[name, f"{count:,}"] for name, count in stats.categories.most_common(10)]
    tables.append(_table(f"categories: {len(stats.categories):,}", ("category", "objects"), counted))
    return tables


def _table(title: str | None, columns: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(*columns, title=title, title_justify="left", title_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    return table


def _quantiles(found: Distribution) -> list[float]:
    return [found.quantile(share) for share in QUANTILES]


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
