import pytest
import torch

from train.watch import MAX_DULL, SETTLED, Watch
from vosforge import VOSForgeError


def test_a_loss_that_is_no_number_ends_the_run():
    with pytest.raises(VOSForgeError, match=r"training s2m diverged: the loss became nan at step 3; lower lr"):
        Watch("s2m").loss(float("nan"), 3)


def test_a_loss_that_explodes_ends_the_run_and_one_of_hard_pixels_alone_does_not():
    watch = Watch("propagation")
    losses = [1 / (1 + step / 50) for step in range(2 * SETTLED)]
    for step, loss in enumerate(losses, start=1):
        watch.loss(loss, step)
    for step in range(len(losses), len(losses) + 500):
        watch.loss(7 * losses[-1], step)
    with pytest.raises(VOSForgeError, match="the mean loss rose from"):
        for step in range(1000, 2000):
            watch.loss(50.0, step)


def test_one_wild_step_is_no_explosion():
    watch = Watch("s2m")
    for step in range(1, 3 * SETTLED):
        watch.loss(100.0 if step == 250 else 0.5, step)


def test_a_thousand_samples_without_an_object_end_the_run():
    watch = Watch("fusion")
    for _ in range(3):  # one that teaches is enough
        watch.samples(torch.zeros(MAX_DULL - 1, dtype=torch.bool))
        watch.samples(torch.tensor([True]))
    with pytest.raises(VOSForgeError, match="the last 1,000 samples of fusion taught nothing"):
        watch.samples(torch.zeros(MAX_DULL, dtype=torch.bool))
