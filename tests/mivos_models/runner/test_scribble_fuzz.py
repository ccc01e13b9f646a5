"""Scribble files of any kind: each stroke ends up where the JSON says, or a sentence says which one is wrong."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mivos_models.runner.scribbles import NO_STROKE, read_scribbles
from vosforge import InputError
from vosforge.seeding import rng_for

FRAMES, HEIGHT, WIDTH = 6, 40, 60
FAULTS: dict[str, str] = {
    "pixels": r"[xy] = \d.* in 0..1",
    "negative place": r"[xy] = -\d.* in 0..1",
    "negative object": "object_id = -",
    "half object": r"object_id = \d+\.5",
    "named object": "object_id = 'cat'",
    "high object": "masks hold the objects",
    "no object": "DAVIS format",
    "not a number": "not a list of",
    "three places": "not a list of|DAVIS format",
    "text path": "not a list of|DAVIS format",
    "empty path": "not a list of",
    "late frame": "the video only the frames",
    "no strokes": "no DAVIS scribbles",
    "a list": "no DAVIS scribbles",
    "cut short": "cannot read",
}


def strokes_of(rng: np.random.Generator) -> list[list[dict[str, Any]]]:
    """Lines and dots on some frames, of objects of any labels and of the background."""
    objects = [0, *rng.choice(np.arange(1, 255), int(rng.integers(1, 5)), replace=False).tolist()]
    frames: list[list[dict[str, Any]]] = [[] for _ in range(FRAMES)]
    for t in rng.choice(FRAMES, int(rng.integers(1, 4)), replace=False).tolist():
        for _ in range(rng.integers(1, 5)):
            path = rng.uniform(0, 1, (int(rng.integers(1, 6)), 2))
            path = np.where(rng.random(path.shape) < 0.1, np.rint(path), path)  # also the very edge
            more = {"start_time": 0, "end_time": 1000} if rng.random() < 0.5 else {}
            frames[t].append({"path": path.tolist(), "object_id": int(rng.choice(objects)), **more})
    return frames


def spoil(fault: str, frames: list[list[dict[str, Any]]], rng: np.random.Generator) -> Any:
    """The file's content with one thing wrong."""
    stroke = next(lines for lines in frames if lines)[0]
    match fault:
        case "pixels":
            stroke["path"] = [[int(rng.integers(2, WIDTH)), int(rng.integers(2, HEIGHT))]]
        case "negative place":
            stroke["path"][0][int(rng.integers(2))] = -float(rng.uniform(0.1, 1))
        case "negative object":
            stroke["object_id"] = -int(rng.integers(1, 9))
        case "half object":
            stroke["object_id"] = 1.5
        case "named object":
            stroke["object_id"] = "cat"
        case "high object":
            frames[next(t for t, lines in enumerate(frames) if lines)] = [{**stroke, "object_id": 255}]
        case "no object":
            del stroke["object_id"]
        case "not a number":
            stroke["path"][0] = [float("nan"), 0.5]
        case "three places":
            stroke["path"] = [[0.1, 0.2, 0.3]]
        case "text path":
            stroke["path"] = "0.1 0.2"
        case "empty path":
            stroke["path"] = []
        case "late frame":
            frames += [[], [stroke]]
        case "no strokes":
            return {"scribbles": [[] for _ in frames]}
        case "a list":
            return frames
    return {"scribbles": frames}


@pytest.mark.parametrize("count", [80, pytest.param(600, marks=pytest.mark.slow)])
def test_each_stroke_is_where_the_file_says_or_refused(tmp_path: Path, count: int) -> None:
    wrong = []
    for number in range(count):
        rng = rng_for("scribble files", number)
        frames, fault = strokes_of(rng), str(rng.choice([*FAULTS, *["none"] * len(FAULTS)]))
        text = json.dumps(
            {**{"sequence": "x"}, **{"scribbles": frames}} if fault == "none" else spoil(fault, frames, rng)
        )
        path = tmp_path / f"{number}.json"
        path.write_text(text[:-9] if fault == "cut short" else text, encoding=str(rng.choice(["utf-8", "utf-8-sig"])))
        try:
            found = read_scribbles(path, FRAMES, HEIGHT, WIDTH)
        except InputError as error:
            if fault == "none" or not re.search(FAULTS[fault], str(error)) or "\n" in str(error):
                wrong.append((number, fault, str(error)))
            continue
        if fault != "none" or list(found) != [t for t, lines in enumerate(frames) if lines]:
            wrong.append((number, fault, "taken"))
            continue
        for t, map_ in found.items():
            seen = set(np.unique(map_).tolist()) - {NO_STROKE}
            last = frames[t][-1]  # nothing is drawn over it
            corners = [(int(y * (HEIGHT - 1)), int(x * (WIDTH - 1))) for x, y in last["path"]]
            on = all(map_[place] == last["object_id"] for place in corners)
            if not on or not seen <= {line["object_id"] for line in frames[t]}:
                wrong.append((number, fault, f"frame {t}"))
    assert wrong == []
