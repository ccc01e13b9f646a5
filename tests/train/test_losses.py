from typing import Any

import numpy as np
import pytest
import torch

from train.losses import Bootstrap, bootstrapped_cross_entropy, object_logits, one_hot


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
