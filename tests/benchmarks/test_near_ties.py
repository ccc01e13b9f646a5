"""The benchmark of near ties: gaps are those of the similarities, and the read stays what it is."""

import torch

from benchmarks.near_ties import CLOSEST, compare, gaps_noted
from benchmarks.networks import Networks
from benchmarks.weights import filled
from mivos_models import Fusion, Memory, Propagation, affinity
from mivos_models.networks import spacetime


def test_the_gaps_are_those_of_the_similarities() -> None:
    torch.manual_seed(0)
    memory, query = Memory(torch.randn(1, 1, 2, 4, 5, 8), torch.randn(1, 1, 2, 4, 5, 6)), torch.randn(1, 8, 4, 5)
    expected = spacetime.read(memory, query, 7)
    with gaps_noted() as noted:
        assert torch.equal(spacetime.read(memory, query, 7), expected)
    similar = affinity(memory.key, query)[0, 0].sort(dim=1, descending=True).values
    gaps = similar[:, 6] - similar[:, 7]
    (closest,) = noted
    assert len(closest) == CLOSEST
    for found, place in zip(closest, gaps.argsort()[:CLOSEST].tolist(), strict=True):
        assert found.cell == divmod(place, 5) and abs(found.size - float(gaps[place])) < 1e-6


def test_every_frame_but_the_given_one_is_compared() -> None:
    rows = compare(Networks(filled(Propagation(18, 0.125)), filled(Fusion(0.25))), 112, 128, 4, 2)
    assert len(rows) == 3
    assert all(row.apart < 1e-3 and row.cell < (7, 8) and len(row.gaps) == CLOSEST for row in rows)
