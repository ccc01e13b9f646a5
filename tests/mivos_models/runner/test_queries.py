"""Queries that are kept: in memory or on disk, they are what they were, and a frame is not looked at twice."""

from unittest import mock

import numpy as np
import pytest
import torch

from mivos_models import STCN, Fusion, InteractiveRunner, Propagation, Query, SpaceTimeNetwork
from mivos_models.runner.queries import Queries


def some_query(seed: int) -> Query:
    torch.manual_seed(seed)
    parts = (torch.randn(1, channels, 3, 4) for channels in (8, 16, 4, 4, 0))
    return Query(*(part.contiguous(memory_format=torch.channels_last) for part in parts))


def test_as_many_are_kept_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(part.nbytes for part in some_query(0))
    monkeypatch.setattr("mivos_models.runner.queries.MEMORY_BYTES", 2 * size)
    monkeypatch.setattr("mivos_models.runner.queries.DISK_BYTES", 3 * size)
    queries, given = Queries(), {frame: some_query(frame) for frame in (7, 3, 4, 9, 1, 5)}
    for frame, query in given.items():
        assert queries.get(frame) is None
        queries.keep(frame, query)
    for frame in (7, 3, 4, 9, 1):
        kept = queries.get(frame)
        assert kept is not None
        for part, expected in zip(kept, given[frame], strict=True):
            assert torch.equal(part, expected)
            assert part.stride() == expected.stride() or not part.numel()
    assert queries.get(5) is None


@pytest.mark.parametrize("kind", [Propagation, STCN])
def test_frames_are_looked_at_once_and_found_the_same(
    kind: type[SpaceTimeNetwork], filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), np.uint8)
    masks = np.zeros((5, 48, 64), np.uint8)
    masks[0, 10:30, 10:30] = masks[4, 5:20, 20:50] = 1
    found = []
    for in_memory in (2**30, 0):
        monkeypatch.setattr("mivos_models.runner.queries.MEMORY_BYTES", in_memory)
        runner = InteractiveRunner(filled(kind(18, 0.25)), frames, 1, fusion=filled(Fusion(0.25)))
        with mock.patch.object(kind, "query", autospec=True, side_effect=kind.query) as asked:
            for t in (0, 4):
                runner.interact(t, masks[t])
        assert asked.call_count == 4  # all but the first, which is given and never asked about
        found.append([runner.probabilities(t) for t in range(5)])
    assert np.array_equal(*found)
