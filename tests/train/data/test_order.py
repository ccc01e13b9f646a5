import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.order import RunOrder


@given(st.integers(0, 200), st.integers(1, 7), st.integers(1, 4), st.integers(0, 30))
def test_processes_share_the_samples_of_each_step_and_a_resumed_run_goes_on(samples, batch, world, start):
    ranks = [list(RunOrder(samples, batch, rank=rank, world=world)) for rank in range(world)]
    steps = samples // (batch * world)
    for step in range(steps):
        taken = [index for rank in ranks for index in rank[step * batch : (step + 1) * batch]]
        assert taken == list(range(step * batch * world, (step + 1) * batch * world))
    for rank, whole in enumerate(ranks):
        resumed = RunOrder(samples, batch, start=start, rank=rank, world=world)
        assert list(resumed) == whole[start * batch :]
        assert len(resumed) == len(list(resumed))


def test_a_rank_beyond_the_world_is_refused():
    with pytest.raises(ValueError, match="rank 2 of 2"):
        RunOrder(10, 1, rank=2, world=2)
