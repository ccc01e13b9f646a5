"""The rendering benchmark's figures as a table and as a plot; each group's scenes are averaged."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.table import Table

# What is aimed at (times cheaper than the recipe), by preset and group of scenes; "fast" must reach 39 dB as well.
TARGETS = {
    "standard": {"10 %": 12.0, "20 %": 12.0, "40 %": 8.0, "surroundings": 8.0},
    "fast": dict.fromkeys(("10 %", "20 %", "40 %", "surroundings"), 22.0),
    "labels": dict.fromkeys(("10 %", "20 %", "40 %", "surroundings"), 100.0),
}
FAST_PSNR = 39.0


class Summary(NamedTuple):
    """One way on one group of scenes: means over the scenes, and how much dearer the recipe is."""

    group: str
    way: str
    cpu: float
    spread: float
    """Most minus least of the rounds, as a share of the median: the mean over the scenes."""
    wall: float
    bytes: float
    psnr: float | None
    ssim: float | None
    gain: float | None

    def meets(self, recipe: "Summary | None") -> str:
        """What was aimed at, and whether it is met; "" where nothing was."""
        wanted = TARGETS.get(self.way, {}).get(self.group)
        if wanted is None or recipe is None or self.gain is None:
            return ""
        missed = [f"{wanted:.0f}x"] if self.gain < wanted else []
        if self.way == "standard":
            missed += ["PSNR"] if _less(self.psnr, recipe.psnr) else []
            missed += ["SSIM"] if _less(self.ssim, recipe.ssim) else []
            missed += ["bytes"] if self.bytes > recipe.bytes else []
        if self.way == "fast":
            missed += [f"{FAST_PSNR:.0f} dB"] if _less(self.psnr, FAST_PSNR) else []
        return f"not {', '.join(missed)}" if missed else f"{wanted:.0f}x met"


def _less(value: float | None, least: float | None) -> bool:
    return value is not None and least is not None and value < least


def summaries(rows: Sequence[dict[str, Any]]) -> list[Summary]:
    """The rows of `benchmarks.rendering.measure`, each group's scenes averaged."""
    together: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        together.setdefault((row["group"], row["way"]), []).append(row)

    def mean(group: list[dict[str, Any]], key: str) -> float | None:
        values = [row[key] for row in group if row[key] is not None]
        return statistics.mean(values) if values else None

    found = []
    for (group, way), some in together.items():
        cpu = statistics.mean(row["cpu"] for row in some)
        recipe = together.get((group, "recipe"))
        found.append(
            Summary(
                group=group,
                way=way,
                cpu=cpu,
                spread=statistics.mean((row["cpu_all"][-1] - row["cpu_all"][0]) / row["cpu"] for row in some),
                wall=statistics.mean(row["wall"] for row in some),
                bytes=statistics.mean(row["colour_bytes"] + row["mask_bytes"] for row in some),
                psnr=mean(some, "psnr"),
                ssim=mean(some, "ssim"),
                gain=statistics.mean(row["cpu"] for row in recipe) / cpu if recipe else None,
            )
        )
    return found


def result_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a group of scenes and way of rendering."""
    columns = ("covered", "rendered by", "CPU s", "+-", "gain", "wall s", "KB", "PSNR", "SSIM")
    table = Table(
        *columns, title="a delivered frame, labels included: cost and quality", box=SIMPLE, padding=(0, 1, 0, 0)
    )
    for column in table.columns[2:]:
        column.justify = "right"
    found = summaries(rows)
    group = None
    for each in found:
        if group not in (None, each.group):
            table.add_section()
        table.add_row(
            "" if each.group == group else each.group,
            each.way,
            f"{each.cpu:.3f}",
            f"{each.spread / 2:.0%}",
            "" if each.gain is None else f"{each.gain:.1f}",
            f"{each.wall:.3f}",
            f"{each.bytes / 1000:.0f}",
            "" if each.psnr is None else f"{each.psnr:.2f}",
            "" if each.ssim is None else f"{each.ssim:.4f}",
        )
        group = each.group
    return table


def aims(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each preset and group of scenes something was aimed at."""
    found = summaries(rows)
    recipes = {each.group: each for each in found if each.way == "recipe"}
    judged = ((each, each.meets(recipes.get(each.group))) for each in found)
    return [f"{each.way}, {each.group}: {outcome}" for each, outcome in judged if outcome]


def draw_plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """PSNR and SSIM of delivered frames against processor seconds: a colour a group, a marker a way."""
    found = [each for each in summaries(rows) if each.psnr is not None and each.ssim is not None]
    groups, ways = (list(dict.fromkeys(getattr(each, name) for each in found)) for name in ("group", "way"))
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("psnr", "ssim"), strict=True):
        for colour, group in enumerate(groups):
            some = sorted((each for each in found if each.group == group), key=lambda each: each.cpu)
            axes.plot([each.cpu for each in some], [getattr(each, name) for each in some], f"C{colour}-", alpha=0.3)
            for each in some:
                axes.plot(each.cpu, getattr(each, name), f"C{colour}" + "os^Dvp*X"[ways.index(each.way) % 8])
        axes.set_xscale("log")
        axes.set_xlabel("processor seconds a frame")
        axes.set_ylabel({"psnr": "PSNR of the delivered frame (dB)", "ssim": "SSIM of the delivered frame"}[name])
        axes.grid(alpha=0.3)
    for colour, group in enumerate(groups):
        axes.plot([], [], f"C{colour}-", label=group)
    for number, way in enumerate(ways):
        axes.plot([], [], "k" + "os^Dvp*X"[number % 8], linestyle="", label=way)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=150)
