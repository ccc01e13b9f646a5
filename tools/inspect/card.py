"""Writes the data set's card: DATASET_CARD.md with plots, a contact sheet, credits and missing videos."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tools.inspect.amounts import REAL_SETS, beside_real_sets
from tools.inspect.overlay import contact_sheet, evenly_spaced, labelled_picture
from tools.inspect.stats import GROUP_COLUMNS, QUANTITY_COLUMNS, Distribution, Stats, group_rows, quantities_rows
from vosforge.errors import VOSForgeError
from vosforge.extras import extra
from vosforge.files import sealed_file, write_sealed
from vosforge.trouble import attempting
from vosforge.videos import ShardSet
from vosforge.videos.cache import local_copy

with extra("report", "the card's plots need matplotlib"):
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

CARD = "DATASET_CARD.md"
COLOUR, GREY = "#3b6fb6", "#b8bec8"
PLOTTED = (
    "size",
    "seen",
    "gap",
    "occlusion",
    "lookalikes",
    "speed",
    "scale_change",
    "contrast",
    "blur",
    "deformation",
    "relative_motion",
    "objects",
    "distractors",
    "border",
    "visibility",
    "camera_path",
    "darkest",
)
REAL = "beside-real-sets.png"
SHEET_VIDEOS, SHEET_FRAMES, TILE = 6, 4, 240
MAX_CATEGORIES, MAX_GAPS, MAX_CREATORS = 25, 50, 50
HUB_LICENCES = {"CC0-1.0": "cc0-1.0", "CC-BY-4.0": "cc-by-4.0", "CC-BY-SA-4.0": "cc-by-sa-4.0", "MIT": "mit"}
"""Licence identifiers of the Hugging Face hub."""


def write_card(stats: Stats, out: Path) -> Path:
    """Write the card of ``stats`` and its pictures (``card/``) into the folder ``out``; returns the card's path.

    Raises VOSForgeError when the folder cannot be written.
    """
    folder = out / "card"
    with attempting(f"write to {out}"):
        plots = _write_plots(stats, folder)
        _write_sheet(stats, folder / "videos.jpg")
        _write_credits(stats, folder / "credits.csv")
        write_sealed(out / CARD, "\n".join(_lines(stats, plots)) + "\n")
    return out / CARD


def _lines(stats: Stats, plots: dict[str, str]) -> Iterable[str]:
    whole, root = stats.whole, stats.path
    sizes = ", ".join(f"{count:,} of {size} pixels" for size, count in stats.sizes.most_common(5))
    kind = {0: "imported", whole.videos: "rendered"}.get(stats.rendered, f"{stats.rendered} of them rendered")
    yield from _front_matter(stats)
    yield f"# {root.resolve().stem}"
    yield ""
    counts = f"{whole.frames:,} frames and {whole.objects:,} labelled objects"
    yield f"{whole.videos:,} video{'s' * (whole.videos != 1)} ({kind}; {sizes}), {counts}, with masks for all frames."
    if bare := whole.videos - whole.distributions["darkest"].count:
        yield f"{bare:,} of the videos ha{'s' if bare == 1 else 've'} masks only, without colours."
    yield ""
    yield "![A few videos with their masks](card/videos.jpg)"
    yield from _section("Quantities", _table(QUANTITY_COLUMNS, quantities_rows(whole)))
    yield ""
    yield "n counts videos, objects, or moments of objects; NN % of the values are not above qNN (to 1.5 % or better)."
    yield ""
    yield from (f"![{title}]({name})" for title, name in plots.items())
    yield from _section(stats.amount_title.capitalize(), _table(stats.amount_columns, stats.amount_rows()))
    yield ""
    yield f"![Beside real data sets](card/{REAL})"
    yield ""
    yield f"Figures of real data sets: {REAL_SETS['source']}"
    for name, groups in stats.groups.items():
        if groups:
            yield from _section(f"By {name}", _table((name, *GROUP_COLUMNS), group_rows(groups)))
    if stats.groups:
        yield ""
        yield "Size, seen, returns, motion and camera are means of the quantities above."
    if stats.crowded:
        yield ""
        yield f"Too many different values to list: {', '.join(sorted(stats.crowded))}."
    yield from _section("Categories", _categories(stats))
    yield from _section("Licences and credits", _credits(stats))
    makers = [[*(text or "–" for text in made), f"{count:,}"] for made, count in stats.makers.most_common(10)]
    yield from _section("Made with", _table(("renderer", "VOSForge", "processor", "videos"), makers, texts=3))
    yield from _section("Known gaps", _gaps(stats))
    settings = root / "dataset.yaml"
    if root.is_dir() and settings.exists():
        yield from _section("Settings", ["```yaml", local_copy(settings).read_text().rstrip(), "```"])


def _front_matter(stats: Stats) -> Iterable[str]:
    licences = {licence for _, _, licence, _ in stats.credits}
    known = HUB_LICENCES.get(next(iter(licences)), "other") if len(licences) == 1 else "other"
    videos = stats.whole.videos
    size = next((name for most, name in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K")) if videos < most), "")
    yield "---"
    yield f"pretty_name: {json.dumps(stats.path.resolve().stem)}"
    if licences:
        yield f"license: {known}"
    yield "task_categories: [image-segmentation]"
    yield f"tags: [video-object-segmentation, {'synthetic, ' if stats.rendered else ''}vosforge]"
    yield f"size_categories: [{size or '100K<n<1M'}]"
    yield "---"


def _section(title: str, lines: Iterable[str]) -> Iterable[str]:
    yield from ("", f"## {title}", "")
    yield from lines


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> Iterable[str]:
    """A Markdown table whose first ``texts`` columns hold words, the others numbers."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * texts}{'---:|' * (len(columns) - texts)}"
    for row in rows:
        yield f"| {' | '.join(_cell(text) for text in row)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _categories(stats: Stats) -> Iterable[str]:
    most = stats.categories.most_common(MAX_CATEGORIES)
    yield from _table(("category", "objects"), ((name, f"{count:,}") for name, count in most))
    if len(stats.categories) > len(most):
        yield from ("", f"and {len(stats.categories) - len(most):,} more")


def _credits(stats: Stats) -> Iterable[str]:
    if not stats.credits:
        yield "The videos name no assets or creators."
        return
    assets: Counter[tuple[str, str, str]] = Counter()
    shown: Counter[tuple[str, str, str]] = Counter()
    for (_, source, licence, creator), videos in stats.credits.items():
        key = licence or "unknown", creator or "unknown", source.split("/")[0]
        assets[key] += 1
        shown[key] += videos
    by_licence: dict[str, int] = defaultdict(int)
    for (licence, _, _), count in assets.items():
        by_licence[licence] += count
    told = ", ".join(f"{licence} ({count:,})" for licence, count in sorted(by_licence.items()))
    yield f"{len(stats.credits):,} assets are seen, under {told}. Every one of them, with its source and creator, is in"
    yield "[card/credits.csv](card/credits.csv); every video's record names its own."
    yield ""
    most = assets.most_common(MAX_CREATORS)
    rows = ([*key, f"{count:,}", f"{shown[key]:,}"] for key, count in most)
    yield from _table(("licence", "creator", "collection", "assets", "uses in videos"), rows, texts=3)
    if len(assets) > len(most):
        yield from ("", f"and {len(assets) - len(most):,} more lines in the file")


def _gaps(stats: Stats) -> Iterable[str]:
    if not stats.gaps:
        yield "None: no video is quarantined, and all could be read."
        return
    listed = list(stats.gaps.items())[:MAX_GAPS]
    yield from _table(("video", "why it is missing"), listed, texts=2)
    if len(stats.gaps) > len(listed):
        yield from ("", f"and {len(stats.gaps) - len(listed):,} more")


def _write_credits(stats: Stats, path: Path) -> None:
    with sealed_file(path) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("name", "source", "licence", "creator", "videos"))
        rows.writerows((*credit, count) for credit, count in sorted(stats.credits.items()))


def _write_sheet(stats: Stats, path: Path) -> None:
    """A row of frames with masks for each of a few videos across the data set."""
    shards = ShardSet(stats.path)
    rows, labels = [], []
    readable = [row.id for row in shards.videos if row.id not in stats.gaps]
    for place in evenly_spaced(len(readable), SHEET_VIDEOS):
        video = shards.video(readable[place])
        times = evenly_spaced(video.num_frames, SHEET_FRAMES)
        try:
            tiles = [labelled_picture(video, t, TILE) for t in times]
        except VOSForgeError as error:
            stats.gaps[video.id] = f"cannot be read: {error}"
            continue
        rows.append(tiles)
        labels.append([f"{video.id}, frame {t}" for t in times])
    if rows:
        with sealed_file(path) as temporary:
            Image.fromarray(contact_sheet(rows, labels)).save(temporary, format="JPEG", quality=90)


def _write_plots(stats: Stats, folder: Path) -> dict[str, str]:
    """A histogram of each plotted quantity; returns titles and the files' names beside the card."""
    plots = {}
    for name in PLOTTED:
        found = stats.whole.distributions[name]
        if found.count:
            _save(_histogram(found), folder / f"{name}.png")
            plots[found.quantity.title] = f"card/{name}.png"
    _save(_beside_real_sets(stats), folder / REAL)
    return plots


def _beside_real_sets(stats: Stats) -> Figure:
    """A panel for each published quantity: bars of the real sets and of this one."""
    own = beside_real_sets(stats.tally, stats.whole.distributions["frames"].mean)
    quantities = REAL_SETS["quantities"]
    figure = Figure(figsize=(8.4, 7.2), layout="constrained")
    panels = figure.subplots(4, 2).ravel()
    for (name, quantity), axes in zip(quantities.items(), panels, strict=False):
        pairs = [*zip(REAL_SETS["sets"], quantity["values"], strict=True), ("this data set", own.get(name))]
        names, values = zip(*(pair for pair in pairs if pair[1] is not None), strict=True)
        bars = axes.barh(names, values, color=[COLOUR if each == "this data set" else GREY for each in names])
        axes.bar_label(bars, fmt="%.3g", fontsize=7, padding=2)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_title(quantity["title"], fontsize=9)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(quantities) :]:
        axes.axis("off")
    return figure


def _histogram(found: Distribution) -> Figure:
    """The share of values in each of some tens of bins."""
    spacing, counts, title = found.quantity.spacing, found.counts, found.quantity.title
    if spacing == "even":  # the whole range; its upper end belongs to the last bar
        bars = np.bincount(np.minimum(np.arange(len(counts)) * 20 // (len(counts) - 1), 19), counts)
        edges = np.linspace(found.quantity.least, found.quantity.most, 21)
    else:
        below = counts[0] if spacing == "log" and found.least < found.edges[0] else 0
        if below:
            counts = np.concatenate([[0], counts[1:]])
            title += f" ({below / found.count:.0%} stand still)" if "motion" in title else ""
        step = 8 if spacing == "log" else 1
        full = np.flatnonzero(counts) if counts.any() else np.zeros(1, int)
        low, high = full[0] // step, full[-1] // step + 1
        bars = np.pad(counts, (0, -len(counts) % step)).reshape(-1, step).sum(axis=1)[low:high]
        edges = found.edges[np.minimum(np.arange(low, high + 1) * step, len(counts))]
    figure = Figure(figsize=(4.2, 2.5), layout="constrained")
    axes = figure.add_subplot()
    middle, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges) * (0.8 if spacing == "whole" else 1.0)
    axes.bar(middle, 100 * bars / found.count, width, color=COLOUR, edgecolor="white", linewidth=0.8)
    if spacing == "log":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if edges[-1] < 100 * edges[0] else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif spacing == "whole":
        axes.set_xlim(edges[0] - 0.5, edges[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(title, fontsize=9)
    axes.set_ylabel("% of values", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _save(figure: Figure, path: Path) -> None:
    with sealed_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
