"""Charts of pages as inline SVG; they inherit the page's text colour, font and CSS variables."""

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

import numpy as np

from vosforge.extras import extra

with extra("report", "charts need matplotlib"):
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that become CSS when the picture is finished, so that one picture serves light and dark pages.
_INK = "#010203"
_CSS = {
    _INK: "currentColor",
    "#010204": "var(--trained)",
    "#010205": "var(--initial)",
    "#010206": "var(--line)",
    "#010207": "var(--shipped)",
}
_TRAINED, _INITIAL, _GRID, _SHIPPED = list(_CSS)[1:]
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vosforge",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
}


def loss_chart(curve: Sequence[tuple[int, float]], name: str) -> str:
    """The losses of one network over its steps, raw (faint) and smoothed, as an SVG; "" when there is nothing to draw.

    ``curve``: (step, loss) pairs; non-finite losses leave gaps. ``name`` must be unique on the page.
    """
    steps, losses = np.array([step for step, _ in curve]), np.array([loss for _, loss in curve], float)
    if not np.isfinite(losses).any():
        return ""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure()
        axes.plot(steps, losses, color=_TRAINED, alpha=0.3, linewidth=0.8)
        axes.plot(steps, smoothed(losses), color=_TRAINED, linewidth=1.8)
        # A few wild first steps must not press the rest of the curve flat.
        top = float(np.nanquantile(np.where(np.isfinite(losses), losses, np.nan), 0.99))
        if top > 0:
            axes.set_ylim(0, 1.15 * top)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        finite = smoothed(losses)[np.isfinite(losses)]
        told = f"from {finite[0]:.3g} to {finite[-1]:.3g}, smoothed"
        return _svg(figure, name, f"Training loss over {len(curve)} steps: {told}.")


def round_chart(trained: Sequence[float], initial: Sequence[float], name: str, shipped: Sequence[float] = ()) -> str:
    """J&F (0 to 100) after each round, trained networks (solid) and the same at initialisation (dashed), as an SVG.

    ``shipped``: that of the shipped networks (dotted), if they were evaluated.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure()
        curves = ((initial, _INITIAL, "o--"), (trained, _TRAINED, "o-"), (shipped, _SHIPPED, "o:"))
        for values, colour, style in curves:
            rounds = range(1, len(values) + 1)
            axes.plot(rounds, values, style, color=colour, linewidth=1.8, markersize=4, clip_on=False)
        longest = max(len(trained), len(initial), len(shipped), 1)
        axes.set_xticks(range(1, longest + 1))
        axes.set_xlim(0.8, longest + 0.2)
        axes.set_ylim(0, 100)
        axes.set_xlabel("round")
        axes.set_ylabel("J&F")
        told = " and ".join(
            f"{who} {', '.join(f'{value:.1f}' for value in values)}"
            for who, values in (("trained", trained), ("at initialisation", initial), ("shipped", shipped))
            if values or who != "shipped"
        )
        return _svg(figure, name, f"J and F after each round: {told}.")


def score_chart(curve: Sequence[tuple[int, float]], name: str) -> str:
    """A score (0 to 100) of held-out videos over the steps of a run, as an SVG; ``curve``: (step, score) pairs."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure()
        axes.plot(*zip(*curve, strict=True), "o-", color=_TRAINED, linewidth=1.8, markersize=4)
        axes.set_ylim(0, 100)
        axes.set_xlabel("step")
        axes.set_ylabel("J&F, held out")
        return _svg(figure, name, f"J and F of held-out videos: {', '.join(f'{value:.1f}' for _, value in curve)}.")


def speed_chart(points: Sequence[tuple[str, float, float]], name: str) -> str:
    """J&F (0 to 100) against frames per second as an SVG; ``points``: (label, frames per second, J&F)."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.0, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for label, speed, score in points:
            axes.plot(speed, score, "o", color=_TRAINED)
            axes.annotate(label, (speed, score), xytext=(6, 4), textcoords="offset points")
        axes.set_xscale("log")
        axes.margins(x=0.25, y=0.25)
        axes.set_xlabel("frames per second")
        axes.set_ylabel("J&F")
        told = "; ".join(f"{label}: {score:.1f} at {speed:.1f} frames/s" for label, speed, score in points)
        return _svg(figure, name, f"J and F against speed: {told}.")


def smoothed(losses: np.ndarray) -> np.ndarray:
    """``losses`` [N] averaged over a centred Hann window of about a tenth of them, so that the mean does not lag.

    Losses that are not finite count for nothing; where a window holds no finite one, the result is NaN.
    """
    window = np.hanning(2 * (len(losses) // 20) + 3)
    finite = np.isfinite(losses)
    weight = np.convolve(finite, window)
    total = np.convolve(np.where(finite, losses, 0), window)
    centred = slice(len(window) // 2, len(window) // 2 + len(losses))
    return np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)[centred]


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.0, 2.0), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an ``<svg>`` element with no header, no addresses and with ids of its own."""
    text = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 role="img"', svg, count=1)
    svg = svg.replace(">", f"><title>{description}</title>", 1)
    for stand_in, css in _CSS.items():
        svg = svg.replace(stand_in, css)
    return svg
