"""Where the runner and MiVOS's published procedure part: frame by frame, beside the closest calls of each read.

    python -m benchmarks.near_ties [--size 480x854] [--frames 8] [--mem-every 5] [--threads 1]

A read takes the 50 memory cells most similar to a place. Where the 50th and the 51st are nearly as similar, rounding
decides. For each frame of a first pass over the video of `benchmarks.networks`: the largest difference of any
probability, the grid cell in which it is, the share that differs by more than 2e-5, and the places with the smallest
gaps between the two cells. What parts in one frame is remembered by later ones.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from benchmarks.networks import LIMIT, Networks, all_probabilities, moving_squares
from benchmarks.published_core import PublishedCore
from benchmarks.weights import filled
from mivos_models import Fusion, InteractiveRunner, Propagation
from mivos_models.networks import memory
from mivos_models.networks.images import Padding
from vosforge.log import console

TOP_K = 50
CLOSEST = 3
CELL = 16


class Gap(NamedTuple):
    """How much more similar a place's 50th memory cell is than its 51st, and the place, row and column of the grid."""

    size: float
    cell: tuple[int, int]


@contextmanager
def gaps_noted() -> Iterator[list[list[Gap]]]:
    """Yields what grows by the smallest gaps of each read, meanwhile."""
    noted: list[list[Gap]] = []
    blocks: list[Tensor] = []
    read, largest = memory.read, memory.largest

    def noting_largest(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values = x.topk(k + 1, dim=-1).values
        blocks.append((values[..., -2] - values[..., -1]).flatten())
        return largest(x, k)

    def noting_read(held: memory.Memory, query_key: Tensor, *others: object) -> Tensor:
        blocks.clear()
        result = read(held, query_key, *others)  # type: ignore[arg-type]
        smallest = torch.cat(blocks).topk(CLOSEST, largest=False)
        places = (divmod(int(place), query_key.shape[3]) for place in smallest.indices)
        noted.append([Gap(float(size), cell) for size, cell in zip(smallest.values, places, strict=True)])
        return result

    with (
        mock.patch("mivos_models.networks.memory.largest", noting_largest),
        mock.patch("mivos_models.networks.spacetime.read", noting_read),
    ):
        yield noted


class Parted(NamedTuple):
    """One frame: how far apart at most, in which grid cell, the share beyond the limit, and the smallest gaps."""

    apart: float
    cell: tuple[int, int]
    beyond: float
    gaps: list[Gap]


def compare(networks: Networks, H: int, W: int, T: int, mem_every: int) -> list[Parted]:
    """All frames but the first, which is given."""
    frames, masks = moving_squares(T, H, W, 1)
    published, ours = (
        core(networks.propagation, frames, 1, fusion=networks.fusion, top_k=TOP_K, mem_every=mem_every)
        for core in (PublishedCore, InteractiveRunner)
    )
    published.interact(0, masks[0])
    with gaps_noted() as gaps:
        ours.interact(0, masks[0])
    apart = np.abs(all_probabilities(published, T) - all_probabilities(ours, T)).max(axis=1)
    left, _, top, _ = Padding.for_size(H, W)
    rows = []
    for each, closest in zip(apart[1:], gaps, strict=True):
        y, x = np.unravel_index(each.argmax(), each.shape)
        cell = (int(y) + top) // CELL, (int(x) + left) // CELL
        rows.append(Parted(float(each.max()), cell, float((each > LIMIT).mean()), closest))
    return rows


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="480x854", help="height x width of the frames")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--mem-every", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    height, width = map(int, arguments.size.split("x"))
    networks = Networks(filled(Propagation()), filled(Fusion()))
    table = Table("frame", "apart", "in cell", "by over 2e-5", "smallest gaps, and where")
    rows = compare(networks, height, width, arguments.frames, arguments.mem_every)
    for number, row in enumerate(rows, start=1):
        where = ", ".join(f"{gap.size:.1e} at {gap.cell}" for gap in row.gaps)
        table.add_row(str(number), f"{row.apart:.1e}", str(row.cell), f"{row.beyond:.3%}", where)
    console.print(table)


if __name__ == "__main__":
    main()
