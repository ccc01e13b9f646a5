"""Whether a long video takes flat memory and linear time: by 1000 frames, the seconds and what the process holds.

    python -m benchmarks.long_video [--frames 10000] [--size 240x427] [--network "SmallPropagation()"] [--every 1000]
                                    [--passes propagate,interact]

One object, given in frame 0, is carried through the video by `propagate`, and by the runner from the middle frame to
both ends. Networks have synthetic weights (benchmarks.weights). Frames are drawn when they are read: nobody holds them.
Counted is what the process holds as its own (RssAnon + RssShmem) and all that is resident (VmRSS, with pages of files),
above what there was before the pass. The slope is that of the second half of the pass. A runner's cache of queries
fills first, up to 1 GiB of memory.
"""

import argparse
import ast
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from rich.table import Table

import mivos_models
from benchmarks.processes import MIB, memory
from benchmarks.weights import filled
from mivos_models import InteractiveRunner, SpaceTimeNetwork, propagate
from vosforge.errors import InputError
from vosforge.log import console

OnProgress = Callable[[int, int], None]


class Held(NamedTuple):
    """After so many frames: the seconds, and the bytes this process holds, its own and all that are resident."""

    frames: int
    seconds: float
    own: int
    resident: int


class DrawnFrames:
    """T frames [H,W,3] of a square that drifts over a backdrop endlessly, drawn when they are read."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, T: int, H: int, W: int) -> None:
        rng = np.random.default_rng(0)
        self.shape = T, H, W, 3
        self._backdrop, self._texture = (
            cv2.GaussianBlur(rng.integers(0, 256, size, np.uint8), (5, 5), 0)
            for size in ((H, W, 3), (H // 3, H // 3, 3))
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, t: int) -> np.ndarray:
        frame = np.roll(self._backdrop, t, axis=1)
        frame[self._square(t)] = self._texture
        return frame

    def mask(self, t: int) -> np.ndarray:
        """The mask of frame ``t``, [H,W]."""
        result = np.zeros(self.shape[1:3], np.uint8)
        result[self._square(t)] = 1
        return result

    def _square(self, t: int) -> tuple[slice, slice]:
        """There and back, along both sides."""
        _, H, W, _ = self.shape
        side = H // 3
        top, left = (abs((t + room) % (2 * room) - room) for room in (H - side, W - side))
        return slice(top, top + side), slice(left, left + side)


def network_named(words: str) -> SpaceTimeNetwork:
    """The network of ``mivos_models`` that ``words`` construct, such as "STCN(18, 0.125)", with synthetic weights."""
    try:
        call = ast.parse(words, mode="eval").body
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        kind = getattr(mivos_models, call.func.id)
        assert issubclass(kind, SpaceTimeNetwork)
        return filled(kind(*map(ast.literal_eval, call.args)))
    except (SyntaxError, AssertionError, AttributeError, TypeError, ValueError):
        raise InputError(f'{words!r} constructs no propagation network: try "STCN(18, 0.125)"') from None


def carried(frames: DrawnFrames, network: SpaceTimeNetwork, progress: OnProgress) -> None:
    """Propagate the first frame's mask."""
    propagate(frames, frames.mask(0), network, progress=progress)


def interacted(frames: DrawnFrames, network: SpaceTimeNetwork, progress: OnProgress) -> None:
    """One interaction with the middle frame."""
    middle = len(frames) // 2
    InteractiveRunner(network, frames, 1).interact(middle, frames.mask(middle), progress=progress)


PASSES = {"propagate": carried, "interact": interacted}


def measure(run: Callable[..., None], frames: DrawnFrames, network: SpaceTimeNetwork) -> list[Held]:
    """What is held above the start after each frame, and when all is returned."""
    before, began = memory(os.getpid()), time.perf_counter()
    held: list[Held] = []

    def note(done: int, _: int) -> None:
        now = memory(os.getpid())
        own, resident = (
            sum(now[name] - before[name] for name in names) for names in (("RssAnon", "RssShmem"), ("VmRSS",))
        )
        held.append(Held(done, time.perf_counter() - began, own, resident))

    run(frames, network, note)
    note(len(frames), 0)
    return held


def slope(held: list[Held]) -> tuple[float, float]:
    """Bytes a frame, own and resident: the lines through the second half of the pass, without its end."""
    frames, _, *grown = np.array(held[len(held) // 2 : -1], float).T
    own, resident = (float(np.polyfit(frames, each, 1)[0]) for each in grown)
    return own, resident


def table(title: str, held: list[Held], every: int) -> Table:
    """A row per ``every`` frames, and for the end."""
    result = Table("frames", "seconds per 1000 frames", "own, MiB", "resident, MiB", title=title)
    last = Held(0, 0, 0, 0)
    for each in held[:-1]:
        if each.frames % every == 0 or each is held[-2]:
            pace = 1000 * (each.seconds - last.seconds) / (each.frames - last.frames)
            result.add_row(str(each.frames), f"{pace:.1f}", f"{each.own / MIB:.0f}", f"{each.resident / MIB:.0f}")
            last = each
    result.add_row("returned", "", f"{held[-1].own / MIB:.0f}", f"{held[-1].resident / MIB:.0f}")
    return result


def main() -> None:
    """Draw, segment, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-long-video"))
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--size", default="240x427", help="height x width of the frames")
    parser.add_argument("--network", default="SmallPropagation()", help="a propagation network of mivos_models")
    parser.add_argument("--passes", default=",".join(PASSES))
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if arguments.frames < 8:
        raise InputError(f"{arguments.frames} frames are too few for a slope")
    torch.set_num_threads(arguments.threads)
    height, width = map(int, arguments.size.split("x"))
    frames, network = DrawnFrames(arguments.frames, height, width), network_named(arguments.network)
    figures: dict[str, object] = {name: str(value) for name, value in vars(arguments).items()}
    for name in arguments.passes.split(","):
        held = measure(PASSES[name], frames, network)
        own, resident = slope(held)
        console.print(table(f"{name}, {arguments.network}, {arguments.size}", held, arguments.every))
        console.print(
            f"second half: {own * 1000 / MIB:+.2f} MiB own, {resident * 1000 / MIB:+.2f} resident in 1000 frames"
        )
        figures[name] = {"held": held, "own_slope": own, "slope": resident}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "figures.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
