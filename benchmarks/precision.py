"""What reduced precision gains and costs: seconds a frame, pixels that flip, and J&F, on annotated videos.

    python -m benchmarks.precision VIDEOS [--networks FOLDER] [--everywhere] [--frames 8] [--threads 1]

VIDEOS: a data set in DAVIS's layout, or one of its videos. FOLDER: where a training has left ``propagation.pth`` and
``fusion.pth``; without it the networks have the published size and synthetic weights (benchmarks.weights), with which
pixels flip as they would with others, while J&F says little. The first mask is carried through the first so many
frames, then the last one back, and fused. "half" is what "reduced" is on a graphics card, float16, computed here. Small
networks have no convolution that is worth larger tiles: ``--everywhere`` lets them have them all the same, so that it
shows what they cost, not what they gain. Seconds are the processor's where there is one thread.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.table import Table

from benchmarks.networks import Networks, seconds
from benchmarks.weights import filled
from mivos_models import Fusion, InteractiveRunner, Propagation, load_network
from mivos_models.runner import fast
from train.evaluation.metrics import score_masks
from vosforge.log import console
from vosforge.videos.folders import open_folder
from vosforge.videos.video import Video

HOW = ("full", "reduced", "half")


class Outcome(NamedTuple):
    """Seconds a frame, masks [T,H,W], probabilities [T,K+1,H,W], J&F in 0..1."""

    seconds: float
    masks: np.ndarray
    probabilities: np.ndarray
    j_and_f: float


def segmented(how: str, networks: Networks, frames: np.ndarray, truth: np.ndarray) -> Outcome:
    """Two rounds, from the first frame and from the last; truth: [T,H,W], labels 1..K."""
    K = int(truth.max())
    precision: fast.Precision = "reduced" if how == "reduced" else "full"
    runner = InteractiveRunner(networks.propagation, frames, K, fusion=networks.fusion, precision=precision)
    if how == "half":  # which the runner itself would do on a graphics card alone
        runner._propagation, runner._fusion = in_half = copy.deepcopy(networks)
        for network in in_half:
            fast.compute_in_half(network)
    started = seconds()
    for t in (0, len(frames) - 1):
        masks = runner.interact(t, truth[t])
    spent = (seconds() - started) / (2 * len(frames) - 3)
    probabilities = np.stack([runner.probabilities(t) for t in range(len(frames))])
    return Outcome(spent, masks, probabilities, score_masks(truth, masks, range(1, K + 1)).j_and_f)


def measure(networks: Networks, video: Video, count: int | None) -> dict[str, dict[str, float]]:
    """What each precision comes to in a video, or in its first so many frames, beside the full one."""
    frames, truth = video.frames()[:count], video.masks()[:count]
    found = {how: segmented(how, networks, frames, truth) for how in HOW}
    full = found["full"]
    return {
        how: {
            "seconds": each.seconds,
            "flipped": float((each.masks != full.masks).mean()),
            "apart": float(np.abs(each.probabilities - full.probabilities).max()),
            "j_and_f": each.j_and_f,
        }
        for how, each in found.items()
    }


def result_table(rows: dict[str, dict[str, dict[str, float]]]) -> Table:
    """The means over all videos, and of what is apart, the most."""
    table = Table("precision", "s a frame", "of full", "flipped", "in one video", "apart", "J&F")
    for how in HOW:
        each = {key: np.array([row[how][key] for row in rows.values()]) for key in next(iter(rows.values()))[how]}
        table.add_row(
            how,
            f"{each['seconds'].mean():.3f}",
            f"{np.mean([row[how]['seconds'] / row['full']['seconds'] for row in rows.values()]):.2f}",
            f"{each['flipped'].mean():.5%}",
            f"{each['flipped'].max():.5%}",
            f"{each['apart'].max():.1e}",
            f"{100 * each['j_and_f'].mean():.3f}",
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--networks", type=Path)
    parser.add_argument("--everywhere", action="store_true", help="larger tiles for all convolutions they can take")
    parser.add_argument("--frames", type=int, help="of each video; all, if not given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-precision"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.networks is None:
        networks = Networks(filled(Propagation()), filled(Fusion()))
    else:
        networks = Networks(
            load_network("propagation", arguments.networks / "propagation.pth"),
            load_network("fusion", arguments.networks / "fusion.pth"),
        )
    if arguments.everywhere:
        fast.MIN_WEIGHTS = fast.MIN_CELLS = 1
    rows: dict[str, dict[str, Any]] = {}
    for video in open_folder(arguments.videos):
        rows[video.id] = measure(networks, video, arguments.frames)
        console.print(f"{video.id}: {json.dumps(rows[video.id])}")
    console.print(result_table(rows))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "figures.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
