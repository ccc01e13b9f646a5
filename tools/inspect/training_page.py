"""One HTML page of a training run, made from the files in its folder, as often as wanted."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tools.inspect.overlay import contact_sheet, overlay, shrink, shrink_labels
from train.settings import NETWORKS
from train.validation import Validated
from vosforge import __version__
from vosforge.extras import extra
from vosforge.files import write_sealed

MAX_POINTS = 2000
"""Points of a curve; longer ones are thinned out."""
TILE = 360


def write_training_page(out: Path) -> Path:
    """Write ``out/training.html`` from ``out/<network>.jsonl`` and the pictures of validations; returns its path."""
    with extra("report", "the page of a training run needs jinja2 and matplotlib"):
        import jinja2
        from markupsafe import Markup

        from tools.inspect.charts import loss_chart, score_chart

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tools.inspect", ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    runs = []
    for kind in NETWORKS:
        lines = list(read_history(out / f"{kind}.jsonl"))
        if not lines:
            continue
        curve = [(line["step"], line["loss"]) for line in lines][:: -(-len(lines) // MAX_POINTS)]
        scores = [(line["step"], 100 * line["validation"]["jf"]) for line in lines if "validation" in line]
        picture = out / f"{kind}.validation.jpg"
        runs.append(
            {
                "kind": kind,
                "last": lines[-1],
                "best": max(scores, key=lambda pair: pair[1], default=None),
                "loss": Markup(loss_chart(curve, f"loss-{kind}")),
                "scores": Markup(score_chart(scores, f"score-{kind}")) if scores else "",
                "picture": base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else "",
            }
        )
    html = environment.get_template("training.html.jinja").render(
        name=out.resolve().name,
        runs=runs,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )
    write_sealed(out / "training.html", html)
    return out / "training.html"


def validation_picture(found: Validated) -> np.ndarray | None:
    """Held-out frames with the truth (left) and the network's masks (right), uint8 ``[h, w, 3]``; None without any."""
    rows = []
    for frame, truth, masks in zip(found.frames, found.truth, found.found, strict=True):
        small = shrink(frame, TILE)
        rows.append([overlay(small, shrink_labels(mask, TILE)) for mask in (truth, masks)])
    return contact_sheet(rows, [[""] * len(row) for row in rows]) if rows else None


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's history; a last line that is being written is left out."""
    if not path.is_file():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return
