"""What waits on disk comes back to the bit, and leaves its room when nobody has it any more."""

import gc
from pathlib import Path

import pytest
import torch

from mivos_models.runner.spill import Probabilities, Spill
from vosforge import VOSForgeError


def test_tensors_come_back_to_the_bit() -> None:
    spill = Spill()
    given = [torch.randn(3, 4), torch.randn(2, 5, 6).transpose(0, 2), torch.tensor([float("inf"), -0.0])]
    held = [spill.put(each) for each in given]
    whole = spill.mapped()
    for each, spilled in zip(given, held, strict=True):
        assert torch.equal(spilled.read(), each)
        assert torch.equal(spilled.within(whole), each)


def test_room_is_used_again() -> None:
    spill = Spill()
    kept, left = spill.put(torch.ones(4)), spill.put(torch.zeros(4))
    place = left.place
    del left
    gc.collect()
    longer, again = spill.put(torch.ones(5)), spill.put(torch.full((4,), 2.0))
    assert again.place == place and longer.place > place
    assert torch.equal(kept.read(), torch.ones(4)) and torch.equal(again.read(), torch.full((4,), 2.0))


def test_a_copy_of_probabilities_stays_as_it_was() -> None:
    now = Probabilities(2, (3, 4))
    assert not now[7][1:].any() and (now[7][0] == torch.tensor(1e-7)).all(), "unseen"
    now[7], now[8] = torch.rand(2, 3, 4), torch.rand(2, 3, 4)
    before, seen = now.copy(), [now[7], now[8]]
    now.channels += 1
    now[8] = torch.rand(3, 3, 4)
    assert before.channels == 2 and torch.equal(before[7], seen[0]) and torch.equal(before[8], seen[1])
    assert torch.equal(now[7][:2], seen[0]) and not now[7][2].any()
    assert before.only_here(now) == 2 * 3 * 4 * 4 and before.only_here(before.copy()) == 0
    assert now.mapped().keys() == {7, 8} and torch.equal(now.mapped()[8], now[8])
    assert Probabilities(2, (3, 4)).mapped() == {}


def test_a_full_disk_is_an_error() -> None:
    spill = Spill()
    with Path("/dev/full").open("r+b", buffering=0) as full:
        spill.file = full
        with pytest.raises(VOSForgeError, match="free some space, or set TMPDIR"):
            spill.put(torch.ones(10**6))
