"""The benchmark of reduced precision: what it says of a small video."""

import pytest

from benchmarks.networks import Networks, moving_squares
from benchmarks.precision import HOW, measure, result_table
from benchmarks.weights import filled
from mivos_models import Fusion, Propagation
from vosforge.videos.video import MemoryVideo


def test_precisions_are_held_against_the_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MIN_WEIGHTS", "MIN_CELLS"):  # small networks and frames would not do otherwise
        monkeypatch.setattr(f"mivos_models.runner.fast.{limit}", 1)
    frames, masks = moving_squares(3, 96, 128, 1)
    networks = Networks(filled(Propagation(18, 0.25)), filled(Fusion(0.25)))
    row = measure(networks, MemoryVideo("squares", frames, masks), None)
    assert list(row) == list(HOW)
    assert row["full"]["flipped"] == row["full"]["apart"] == 0
    assert 0 < row["reduced"]["apart"] < row["half"]["apart"] < 0.5
    assert row["reduced"]["flipped"] <= row["half"]["flipped"] < 0.01
    assert all(0 < each["j_and_f"] < 1 and each["seconds"] > 0 for each in row.values())
    assert len(result_table({"squares": row, "again": row}).rows) == len(HOW)
