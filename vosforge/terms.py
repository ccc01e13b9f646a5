"""The few words of the field that every folder shares."""

from typing import Literal

Split = Literal["train", "val"]
"""What a video or an asset is for."""
VOID = 255
"""The mask value of pixels that count for nothing (DAVIS)."""
MAX_OBJECTS = VOID - 1
"""Objects of a video: masks hold the values 1..MAX_OBJECTS."""
