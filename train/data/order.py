"""The sample order of a run for one or several processes, new or resumed."""

from collections.abc import Iterator

from torch.utils.data import Sampler


class RunOrder(Sampler[int]):
    """The sample indices of one of ``world`` processes, step by step.

    Step s uses samples ``s * batch * world`` to ``(s + 1) * batch * world``; each process takes ``batch`` consecutive
    ones. Samples depend only on their index, so a run resumed at ``start`` sees the same ones.
    """

    def __init__(self, samples: int, batch: int, *, start: int = 0, rank: int = 0, world: int = 1) -> None:
        """``samples``: of the whole run; ``batch``: per step and process; ``start``: the first step."""
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        self.batch, self.start, self.rank, self.world = batch, start, rank, world
        self.steps = samples // (batch * world)

    def __len__(self) -> int:
        return max(self.steps - self.start, 0) * self.batch

    def __iter__(self) -> Iterator[int]:
        for step in range(self.start, self.steps):
            first = (step * self.world + self.rank) * self.batch
            yield from range(first, first + self.batch)
