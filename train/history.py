"""The record of a run: a line of JSON per step, and TensorBoard's curves."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter


class History:
    """``OUT/KIND.jsonl`` and ``OUT/tensorboard/KIND`` of a run after ``steps`` steps; later lines are dropped."""

    def __init__(self, out: Path, kind: str, steps: int) -> None:
        self._path = out / f"{kind}.jsonl"
        _truncate(self._path, steps)
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(out / "tensorboard" / kind), purge_step=steps + 1 if steps else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()

    def write(self, line: Mapping[str, Any], curves: Mapping[str, float]) -> None:
        """Add the line of a step, ``line["step"]``, and points to curves."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in curves.items():
            self._board.add_scalar(name, value, line["step"])

    def sync(self) -> None:
        """Have all lines on disk, as a checkpoint that follows them must find them."""
        os.fsync(self._file.fileno())


def _truncate(path: Path, steps: int) -> None:
    """Keep the lines of the first ``steps`` steps; the last line of a killed run may be incomplete."""
    kept = 0
    if steps and path.exists():
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or json.loads(line)["step"] > steps:
                    break
                kept += len(line)
    with path.open("ab") as file:
        file.truncate(kept)
