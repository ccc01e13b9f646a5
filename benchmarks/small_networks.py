"""How fast the small networks are, beside the published ones in the same runner, interleaved in one run.

    python -m benchmarks.small_networks [--frames 40] [--rounds 3] [--threads 2] [--size 480x854]

Weights are synthetic (benchmarks.weights): only times are compared. One object is carried through a drawn video from
the mask of its first frame; seconds a frame are those of the whole pass, and S2M's those of one mask. The published
networks carry a tenth of the frames, with a memory as short, which favours them.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from rich.table import Table

from benchmarks.networks import moving_squares
from benchmarks.weights import filled
from mivos_models import S2M, InteractiveRunner, Propagation, SmallPropagation, SmallS2M
from mivos_models.runner.scribbles import disk
from vosforge.log import console

TENTH = 10


def seconds_of(propagation: torch.nn.Module, s2m: torch.nn.Module, frames: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Seconds a propagated frame, and of a mask from a click: float64 [2]."""
    runner = InteractiveRunner(propagation, frames, 1, s2m=s2m)
    H, W = mask.shape
    started = time.perf_counter()
    runner.scribble(0, disk(W // 2, H // 2, 5, 1, H, W))
    clicked = time.perf_counter()
    runner.interact(0, mask)
    done = time.perf_counter()
    return np.array([(done - clicked) / (len(frames) - 1), clicked - started])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Times of the small networks beside the published ones.")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", default="480x854")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    H, W = map(int, options.size.split("x"))
    frames, masks = moving_squares(options.frames, H, W, 1)
    families = {
        "published": (filled(Propagation()), filled(S2M()), frames[: max(options.frames // TENTH, 2)]),
        "small": (filled(SmallPropagation()), filled(SmallS2M()), frames),
    }
    found: dict[str, list[np.ndarray]] = {name: [] for name in families}
    for _ in range(options.rounds):
        for name, (propagation, s2m, video) in families.items():
            found[name].append(seconds_of(propagation.eval(), s2m.eval(), video, masks[0]))
    table = Table("", *families, "ratio", "lowest", "highest")
    for place, what in enumerate(("seconds a propagated frame", "seconds a mask from a click")):
        times = [[round_[place] for round_ in found[name]] for name in families]
        ratios = [slow / fast for slow, fast in zip(*times, strict=True)]
        medians = [f"{statistics.median(each):.3f}" for each in times]
        table.add_row(what, *medians, f"{statistics.median(ratios):.1f}", f"{min(ratios):.1f}", f"{max(ratios):.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
