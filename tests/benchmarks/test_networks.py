"""The networks' benchmark: both of its sides find the same."""

import pytest

from benchmarks.networks import LIMIT, SCENARIOS, Networks, compare, moving_squares
from benchmarks.weights import filled
from mivos_models import Fusion, Propagation


def test_published_procedure_and_runner_agree() -> None:
    networks = Networks(filled(Propagation()), filled(Fusion()))  # small ones magnify what rounding does
    rows = {row["case"]: row for row in compare(networks, (112, 126), rounds=1, cases=list(SCENARIOS))}
    assert list(rows) == ["first", "revisited", "objects"]
    assert any(row["difference"] <= LIMIT for row in rows.values())
    for row in rows.values():
        # Where a 51st memory cell is as similar as the 50th but for rounding, threads decide which of them is read.
        assert row["beyond"] < 0.005 and row["difference"] < 1e-3
        assert row["pixels"] <= 20
        assert sum(count > 0 for count in row["labels"]) > 1, "nothing to compare"


@pytest.mark.parametrize("K", [1, 3])
def test_every_object_is_seen_in_every_frame(K: int) -> None:
    _, masks = moving_squares(11, 112, 126, K)
    for mask in masks:
        assert set(mask.ravel().tolist()) == set(range(K + 1))
