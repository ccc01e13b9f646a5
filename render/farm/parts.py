"""Parts of a data set, rendered by processes that know nothing of each other, such as the tasks of a Slurm array.

Part 7/40 has every 40th shard, from the 7th on: whole shards, whichever parts run. The one part of one is all of it.
"""

import re
from dataclasses import dataclass

from vosforge.errors import InputError
from vosforge.videos import Place

MAX_PARTS = 100_000


@dataclass(frozen=True)
class Part:
    """Part ``number`` (from 1) of ``of``."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= MAX_PARTS:
            raise InputError(
                f"there is no part {self.number}/{self.of}: parts run from 1/N to N/N, with N up to {MAX_PARTS}"
            )

    @classmethod
    def parse(cls, text: str) -> "Part":
        """The part written as "7/40". Raises InputError where there is no such part."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if found is None:
            raise InputError(f"'{text}' is no part: write the part and how many there are, such as 7/40")
        return cls(int(found[1]), int(found[2]))

    @property
    def label(self) -> str:
        """What this part's files are named after: "07-of-40"; "" for the one part of one."""
        return f"{self.number:0{len(str(self.of))}d}-of-{self.of}" if self.of > 1 else ""

    def shards(self, total: int) -> range:
        """The numbers of its shards, of so many."""
        return range(self.number - 1, total, self.of)

    def excludes(self, label: str) -> bool:
        """Whether the part of this label must not be rendered at the same time: it is of another division."""
        return label != self.label and (
            label == "" or re.fullmatch(rf"[0-9]+-of-(?!{self.of}$)[0-9]+", label) is not None
        )


WHOLE = Part(1, 1)
"""All shards."""


def missing_parts(root: Place, n: int) -> str:
    """Which of ``n`` parts of the data set in the folder ``root`` have shards to seal, as Slurm's ``--array`` has it.

    For example "3,7-9"; "" where every shard is sealed. Raises InputError where no data set was started.
    """
    from render.farm.jobs import unsealed  # which divides a data set into parts itself

    Part(1, n)  # raises
    numbers = sorted({shard % n + 1 for shard in unsealed(root)})
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}-{last}" if first < last else str(first) for first, last in runs)
