"""What a rendered video must show to be kept: a preset's limits (`vosforge.videos.gates` holds videos against them)."""

from collections.abc import Collection
from typing import Annotated, Self

from pydantic import Field

from vosforge.config import Record, Share

Brightness = Annotated[float, Field(ge=0, le=255)]


class GateLimits(Record):
    """Limits of brightness (0 to 255) and of shares of a frame. The defaults are those of ``basic``."""

    darkest: Annotated[Brightness, Field(description="minimum mean brightness; frames below it are black")] = 12.0
    brightest: Annotated[Brightness, Field(description="maximum mean brightness; frames above it are burnt")] = 245.0
    flattest: Annotated[Brightness, Field(description="minimum standard deviation of brightness in a frame")] = 3.0
    min_coverage: Annotated[Share, Field(description="minimum share of each frame covered by labelled objects")] = 0.004
    max_coverage: Annotated[
        Share, Field(description="maximum share of a frame covered by one object: above it, the camera is inside")
    ] = 0.85
    min_area: Annotated[Share, Field(description="minimum share covered by each object in its best frame")] = 0.0005
    first_frame: Annotated[bool, Field(description="whether a labelled object must be seen in frame 0")] = False
    max_empty: Annotated[Share, Field(description="maximum share of frames without a labelled object")] = 1.0

    def without(self, excuses: Collection[str]) -> Self:
        """The limits without those of brightness that are excused: "black", "burnt", "flat"."""
        excused = {"black": {"darkest": 0.0}, "burnt": {"brightest": 255.0}, "flat": {"flattest": 0.0}}
        changes = {name: value for kind in excuses for name, value in excused.get(kind, {}).items()}
        return self.model_copy(update=changes)
