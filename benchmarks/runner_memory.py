"""Whether the runner grows over a long video: what it holds after every so many frames, at most, and the slope.

    python -m benchmarks.runner_memory [--frames 600] [--size 480x854] [--width 1.0] [--every 25]

One object, given in frame 0, is carried through the video by networks with synthetic weights (benchmarks.weights). The
video is drawn into a file, which the runner sees as a memory map: the frames are the caller's. What the process holds
as its own is counted (RssAnon + RssShmem), and beside it all that is resident (VmRSS), the pages of files, too; both
above what there was before the runner was made, which has the networks as they are given and all pages of the video in
it. The slope is that of the second half of the pass.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.networks import moving_squares
from benchmarks.processes import MIB, memory
from benchmarks.weights import filled
from mivos_models import Fusion, InteractiveRunner, Propagation
from vosforge.errors import InputError
from vosforge.log import console

DISTINCT = 40
"""Frames drawn; the video shows them forwards and backwards."""


class Held(NamedTuple):
    """What this process holds after so many frames, in bytes: its own memory, and all that is resident."""

    frames: int
    own: int
    resident: int


def look(frames: int) -> Held:
    """What this process holds now."""
    now = memory(os.getpid())
    return Held(frames, now["RssAnon"] + now["RssShmem"], now["VmRSS"])


def drawn(frames: int, H: int, W: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A video [T,H,W,3] in a file, mapped and resident, and the mask [H,W] of its first frame."""
    pictures, masks = moving_squares(min(DISTINCT, frames), H, W, 1)
    there_and_back = np.concatenate([np.arange(len(pictures)), np.arange(len(pictures))[-2:0:-1]])
    video = np.memmap(path, np.uint8, "w+", shape=(frames, H, W, 3))
    for t in range(frames):
        video[t] = pictures[there_and_back[t % len(there_and_back)]]
    video.flush()
    return video, masks[0]


def measure(video: np.ndarray, mask: np.ndarray, width: float, every: int) -> list[Held]:
    """One interaction with frame 0: what is held above the start after each frame, and at the end."""
    networks = filled(Propagation(width=width)), filled(Fusion(width))
    before, began = look(0), time.perf_counter()
    held: list[Held] = []

    def note(frames: int, total: int) -> None:
        now = look(frames)
        held.append(Held(frames, now.own - before.own, now.resident - before.resident))
        if frames % every == 0 or frames > total:
            console.print(
                f"after {frames:4d} frames, {time.perf_counter() - began:5.0f} s: {held[-1].own / MIB:5.0f} MiB its "
                f"own, {held[-1].resident / MIB:5.0f} resident"
            )

    runner = InteractiveRunner(networks[0], video, 1, fusion=networks[1])
    masks = runner.interact(0, mask, progress=note)
    note(len(masks), len(masks) - 1)
    return held


def slope(held: list[Held]) -> tuple[float, float]:
    """Bytes a frame, own and resident: the lines through the second half of what the pass held, without its end."""
    frames, *grown = np.array(held[len(held) // 2 : -1], float).T
    own, resident = (float(np.polyfit(frames, each, 1)[0]) for each in grown)
    return own, resident


def main() -> None:
    """Draw, segment, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-runner-memory"))
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--size", default="480x854", help="height x width of the frames")
    parser.add_argument("--width", type=float, default=1.0, help="of the networks: a multiple of 1/8, 1 as published")
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if arguments.frames < 8:
        raise InputError(f"{arguments.frames} frames are too few for a slope")
    torch.set_num_threads(arguments.threads)
    height, width = map(int, arguments.size.split("x"))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        video, mask = drawn(arguments.frames, height, width, Path(folder) / "video")
        held = measure(video, mask, arguments.width, arguments.every)
    own, resident = slope(held)
    most = max(each.own for each in held), max(each.resident for each in held)
    console.print(
        f"{most[0] / MIB:.0f} MiB of its own at most, {most[1] / MIB:.0f} resident; over the second half "
        f"{own * 100 / MIB:+.2f} and {resident * 100 / MIB:+.2f} MiB in 100 frames"
    )
    figures = {
        **{k: str(v) for k, v in vars(arguments).items()},
        "most": most,
        "held": held,
        "own_slope": own,
        "slope": resident,
    }
    (arguments.folder / "figures.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
