from typing import Any

import numpy as np
import pytest
import torch

from train.losses import (
    Bootstrap,
    bootstrapped_cross_entropy,
    cell_shares,
    dice_loss,
    matching_loss,
    object_logits,
    one_hot,
)
from train.s2m import ScribbledFrame, s2m_loss


def slow_loss(probabilities: Any, labels: Any, objects: Any, share: Any) -> Any:
    """One sample, straight from the formulas, in float64: probabilities [K,H,W], labels [H,W], objects that exist."""
    p = probabilities.astype(np.float64)[:objects]
    p = np.concatenate([np.prod(1 - p, axis=0, keepdims=True), p]).clip(1e-7, 1 - 1e-7)
    odds = p / (1 - p)
    distribution = odds / odds.sum(axis=0)
    losses = [-np.log(distribution[labels[y, x], y, x]) for y in range(labels.shape[0]) for x in range(labels.shape[1])]
    hardest = sorted(losses, reverse=True)[: max(int(share * len(losses)), 1)]
    return sum(hardest) / len(hardest)


@pytest.mark.parametrize("share", [1.0, 0.37, 0.15, 1e-9])
def test_loss_equals_its_slow_twin(share: Any) -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.uniform(0.01, 0.99, (2, 2, 5, 6))
    labels = np.stack([rng.integers(0, 3, (5, 6)), rng.integers(0, 2, (5, 6))])
    present = torch.tensor([[True, True], [True, False]])
    logits = object_logits(torch.from_numpy(probabilities), present)
    found = bootstrapped_cross_entropy(logits, torch.from_numpy(labels), share)
    expected = np.mean(
        [slow_loss(probabilities[0], labels[0], 2, share), slow_loss(probabilities[1], labels[1], 1, share)]
    )
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_an_absent_object_gets_no_gradient() -> None:
    probabilities = torch.full((1, 2, 4, 4), 0.5, requires_grad=True)
    logits = object_logits(probabilities, torch.tensor([[True, False]]))
    bootstrapped_cross_entropy(logits, torch.ones(1, 4, 4, dtype=torch.int64), 1.0).backward()
    assert probabilities.grad is not None
    assert (probabilities.grad[:, 0] != 0).all()
    assert (probabilities.grad[:, 1] == 0).all()


def test_schedule_of_the_paper() -> None:
    paper = Bootstrap()
    shares = [paper.share(step, 500_000) for step in (0, 19_999, 20_000, 45_000, 70_000, 499_999)]
    assert shares == pytest.approx([1, 1, 1, 0.575, 0.15, 0.15])
    assert Bootstrap(start=0.5, end=0.5, top=0.2).share(5, 10) == 0.2


def test_one_hot() -> None:
    labels = torch.tensor([[0, 1], [2, 2]])
    assert one_hot(labels, 2).tolist() == [[[0, 1], [0, 0]], [[0, 0], [1, 1]]]


def test_cell_shares_count_pixels() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (2, 8, 12)))
    shares = cell_shares(labels, 3, side=4)
    assert shares.shape == (2, 3, 6)
    assert shares[1, 2, 4] == (labels[1, 4:8, 4:8] == 2).float().mean()


def test_matching_is_free_where_reads_point_at_the_same_label() -> None:
    memorised = torch.tensor([[[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]])
    wanted = memorised[:, :, [2, 0, 3, 1]]
    pointing = 100 * (wanted.transpose(1, 2) @ memorised)[:, None].expand(-1, 2, -1, -1)
    present = torch.ones(1, 2, dtype=torch.bool)
    assert float(matching_loss(pointing, memorised, wanted, present)) < 1e-3
    assert float(matching_loss(-pointing, memorised, wanted, present)) > 4


def test_matching_by_chance_costs_the_cross_entropy_with_the_mean() -> None:
    shares = torch.from_numpy(np.random.default_rng(1).dirichlet(np.ones(3), size=(1, 5))).float().transpose(1, 2)
    expected = -(shares * torch.log(shares.mean(dim=2, keepdim=True))).sum(dim=1).mean()
    similarity = torch.zeros(1, 2, 5, 5)
    similarity[:, 1] = torch.randn(5, 5)  # of an object that is not there
    found = matching_loss(similarity, shares, shares, torch.tensor([[True, False]]))
    assert float(found) == pytest.approx(float(expected), rel=1e-2)


def test_dice_counts_overlap_of_each_present_object() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[0, :2, :4], labels[0, 4:, :] = 1, 2
    sure = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1) * 40.0 - 20
    both, one = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    assert float(dice_loss(sure, labels, both)) == pytest.approx(0, abs=1e-6)
    missed = sure.clone()
    missed[:, 1] = -20  # the small object, of 8 pixels, is not found: background there
    missed[:, 0] = torch.where(labels == 2, -20.0, 20.0)
    assert float(dice_loss(missed, labels, one)) == pytest.approx(1 - 1 / 9, abs=1e-6)
    assert float(dice_loss(missed, labels, both)) == pytest.approx((1 - 1 / 9) / 2, abs=1e-6)
    assert float(dice_loss(missed, labels, both, torch.tensor(4.0))) == pytest.approx((1 - 1 / 9) / 4, abs=1e-6)


def test_s2m_learns_by_dice_too() -> None:
    """The loss of a network whose logits are given."""
    inputs, label = torch.zeros(2, 6, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64)
    label[:, 2:5, 1:6] = 1
    logits = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plain, both = (s2m_loss(lambda _: logits, ScribbledFrame(inputs, label), 1.0, weight) for weight in (0.0, 0.5))
    one = object_logits(torch.sigmoid(logits), torch.ones(2, 1, dtype=torch.bool))
    torch.testing.assert_close(both - plain, 0.5 * dice_loss(one, label, torch.ones(2, 1, dtype=torch.bool)))
