"""How fast the runner segments: beside MiVOS's published procedure, the same networks, interleaved in one run.

    python -m benchmarks.networks [--rounds 3] [--threads 2] [--size 480x854] [--cases first,objects]
                                  [--precision reduced]

Weights are synthetic (benchmarks.weights), the video is drawn; both sides start from the same frames and masks. Times
are seconds a propagated frame: of the processor with one thread, else of the clock on the wall. "first" is a pass
through new frames, timed where five frames are remembered; "revisited" a second interaction, whose frames were seen and
are fused; "objects" three objects in three rounds, from the first frame on. Beside each: how far the probabilities of
all frames are apart at most, what share of them by more than 2e-5, and how many pixels differ; and how far the
published procedure is from itself when PyTorch adds in another order (without oneDNN). Where two memory cells are
nearly as similar to a place, rounding decides which of them is the last of the 50 that are read.
"""

import argparse
import functools
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

import cv2
import numpy as np
import torch
from rich.table import Table

from benchmarks.published_core import PublishedCore
from benchmarks.weights import filled
from mivos_models import Fusion, InteractiveRunner, Propagation
from mivos_models.runner.fast import Precision
from vosforge.log import console

LIMIT = 2e-5
Core = PublishedCore | InteractiveRunner


class Networks(NamedTuple):
    """What both sides are given."""

    propagation: Propagation
    fusion: Fusion


def seconds() -> float:
    """One thread's work is measured by the processor's clock, which other programs disturb less."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class ClockedFrames:
    """Frames [T,H,W,3] that note when each was asked for: once, when its turn in a pass begins."""

    def __init__(self, frames: np.ndarray):
        self.frames = frames
        self.asked: list[tuple[int, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.frames, name)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, t: int) -> np.ndarray:
        self.asked.append((t, seconds()))
        return self.frames[t]


class Outcome(NamedTuple):
    """Seconds a frame by case, probabilities [T,K+1,H,W] and masks [T,H,W] after it."""

    seconds: dict[str, float]
    probabilities: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]


def moving_squares(T: int, H: int, W: int, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames [T,H,W,3] and index masks [T,H,W] of K squares before a backdrop, all of blurred noise.

    No two places look alike: which of two equal memory cells a read takes is a matter of chance.
    """
    rng = np.random.default_rng(0)
    backdrop, *textures = (cv2.GaussianBlur(rng.integers(0, 256, (H, W, 3), np.uint8), (5, 5), 0) for _ in range(K + 1))
    side = H // 3
    frames, masks = np.empty((T, H, W, 3), np.uint8), np.zeros((T, H, W), np.uint8)
    for t in range(T):
        frames[t] = backdrop
        for j, texture in enumerate(textures, start=1):
            top, left = (j - 1) * H // 4 + t * H // 90, (j - 1) * W // 4 + t * W // 60
            square = (slice(top, top + side), slice(left, left + side))
            frames[t][square] = texture[: frames[t][square].shape[0], : frames[t][square].shape[1]]
            masks[t][square] = j
    return frames, masks


def one_object(core: Callable[..., Core], networks: Networks, H: int, W: int) -> Outcome:
    """ "first" and "revisited": out from frame 0, where frames 8 and 9 see five others, and back from the last."""
    T = 11
    frames, masks = moving_squares(T, H, W, 1)
    clocked = ClockedFrames(frames)
    runner = core(networks.propagation, clocked, 1, fusion=networks.fusion, mem_every=2, top_k=50)
    result = Outcome({}, {}, {})
    result.masks["first"] = runner.interact(0, masks[0])
    began = dict(clocked.asked[1:])
    result.seconds["first"] = (began[10] - began[8]) / 2
    result.probabilities["first"] = all_probabilities(runner, T)
    started = seconds()
    result.masks["revisited"] = runner.interact(T - 1, masks[T - 1])
    result.seconds["revisited"] = (seconds() - started) / (T - 2)
    result.probabilities["revisited"] = all_probabilities(runner, T)
    return result


def three_objects(core: Callable[..., Core], networks: Networks, H: int, W: int) -> Outcome:
    """ "objects": a fresh runner, interactions with the first, the last and the middle frame."""
    T = 7
    frames, masks = moving_squares(T, H, W, 3)
    started = seconds()
    runner = core(networks.propagation, frames, 3, fusion=networks.fusion, top_k=50)
    for t in (0, T - 1, T // 2):
        found = runner.interact(t, masks[t])
    each = (seconds() - started) / (T - 1 + T - 2 + T - 3)
    return Outcome({"objects": each}, {"objects": all_probabilities(runner, T)}, {"objects": found})


def all_probabilities(runner: Core, T: int) -> np.ndarray:
    """[T,K+1,H,W]."""
    return np.stack([runner.probabilities(t) for t in range(T)])


SCENARIOS = {"first": one_object, "revisited": one_object, "objects": three_objects}


@contextmanager
def adding_otherwise() -> Iterator[None]:
    """While it lasts, PyTorch computes convolutions by other code, and adds in another order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about settings of graphics cards
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def compare(
    networks: Networks, size: tuple[int, int], rounds: int, cases: list[str], precision: Precision = "full"
) -> list[dict[str, Any]]:
    """One row a case; the two sides take turns, and begin in turns. ``precision``: of our side."""
    rows = []
    for scenario in dict.fromkeys(SCENARIOS[case] for case in cases):
        sides: dict[str, list[Outcome]] = {"published": [], "ours": []}
        cores: dict[str, Callable[..., Core]] = {
            "published": PublishedCore,
            "ours": functools.partial(InteractiveRunner, precision=precision),
        }
        for number in range(rounds):
            for side in sorted(cores, reverse=number % 2 == 0):
                sides[side].append(scenario(cores[side], networks, *size))
        published, ours = sides["published"][0], sides["ours"][0]
        with adding_otherwise():
            again = scenario(PublishedCore, networks, *size)
        for case in (case for case in published.seconds if case in cases):
            spent = {side: [each.seconds[case] for each in found] for side, found in sides.items()}
            ratios = [a / b for a, b in zip(*spent.values(), strict=True)]
            apart = np.abs(published.probabilities[case] - ours.probabilities[case])
            rows.append(
                {
                    "case": case,
                    **{side: statistics.median(values) for side, values in spent.items()},
                    "all": spent,
                    "ratio": statistics.median(ratios),
                    "ratios": sorted(ratios),
                    "difference": float(apart.max()),
                    "beyond": float((apart > LIMIT).mean()),
                    "own_difference": float(np.abs(published.probabilities[case] - again.probabilities[case]).max()),
                    "pixels": int((published.masks[case] != ours.masks[case]).sum()),
                    "pixels_of": ours.masks[case].size,
                    "labels": np.bincount(ours.masks[case].ravel()).tolist(),
                }
            )
    return rows


def result_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Seconds a frame of both sides, ratios with their least and most, and how far the results are apart."""
    columns = ("case", "published s", "ours s", "ratio", "of pairs", "apart", "by over 2e-5", "itself", "pixels")
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(
            row["case"],
            f"{row['published']:.3f}",
            f"{row['ours']:.3f}",
            f"{row['ratio']:.2f}",
            f"{row['ratios'][0]:.2f}–{row['ratios'][-1]:.2f}",
            f"{row['difference']:.1e}",
            f"{row['beyond']:.4%}",
            f"{row['own_difference']:.1e}",
            f"{row['pixels']} of {row['pixels_of']:,}",
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-networks"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--size", default="480x854", help="height x width of the frames")
    parser.add_argument("--cases", default=",".join(SCENARIOS))
    parser.add_argument("--precision", choices=get_args(Precision), default="full", help="of our side")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    height, width = map(int, arguments.size.split("x"))
    networks = Networks(filled(Propagation()), filled(Fusion()))
    cases, precision = arguments.cases.split(","), arguments.precision
    rows = compare(networks, (height, width), arguments.rounds, cases, precision)
    title = f"seconds a frame, {arguments.size}, {arguments.threads} threads, {precision} precision"
    console.print(result_table(rows, title))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "size": arguments.size,
        "threads": arguments.threads,
        "precision": precision,
        "torch": torch.__version__,
        "cases": rows,
    }
    (arguments.folder / "figures.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
