"""Ends a run early that has gone wrong: a loss that exploded, or data that teach nothing."""

import math

from torch import Tensor

from vosforge import VOSForgeError

MEMORY = 0.99
"""Weight of the past in the running mean of the loss."""
SETTLED = 200
"""Steps before the running mean counts."""
EXPLODED = 20.0
"""Times its lowest value. Hard pixels alone, which the loss comes to count, raise it by less than 7."""
MAX_DULL = 1000
"""Samples in a row without anything to learn."""


class Watch:
    """Looks at every step of the training of ``kind``."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._mean = self._steps = self._dull = 0.0
        self._lowest = math.inf

    def loss(self, value: float, step: int) -> None:
        """VOSForgeError if the loss of ``step`` (from 1) is no number, or its running mean has exploded."""
        advice = "lower lr, or set clip_gradient"
        if not math.isfinite(value):
            raise VOSForgeError(f"training {self._kind} diverged: the loss became {value} at step {step}; {advice}")
        self._steps += 1
        self._mean += (value - self._mean) * max(1 - MEMORY, 1 / self._steps)
        if self._steps >= SETTLED:
            self._lowest = min(self._lowest, self._mean)
            if self._mean > EXPLODED * self._lowest:
                raise VOSForgeError(
                    f"training {self._kind} diverged: by step {step} the mean loss rose from {self._lowest:.3g} to "
                    f"{self._mean:.3g}; {advice}"
                )

    def samples(self, teaching: Tensor) -> None:
        """VOSForgeError after 1,000 samples in a row that are not ``teaching`` (bool ``[B]``)."""
        for one in teaching.tolist():
            self._dull = 0 if one else self._dull + 1
            if self._dull >= MAX_DULL:
                raise VOSForgeError(
                    f"the last {MAX_DULL:,} samples of {self._kind} taught nothing: no object to learn, or two results "
                    "that hardly differ; check the data's masks, or lower the smallest size of objects"
                )
