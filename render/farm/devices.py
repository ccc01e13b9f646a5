"""Checks of Blender's version and Cycles' device, also against those of the data set.

Nothing here imports bpy: its objects are passed in, so tests need neither Blender nor a GPU.
"""

import platform
from collections.abc import Sequence
from typing import Any, NamedTuple

from vosforge.errors import VOSForgeError

VERSIONS = ((4, 5), (5, 0))
"""The Blender versions that pass the render tests."""
KINDS = ("OPTIX", "CUDA", "HIP", "ONEAPI")
"""Cycles' kinds of GPU devices on Linux, the better one of a card first."""
DEVICES = ("cpu", "gpu", *(kind.lower() for kind in KINDS))
"""Valid devices; "gpu" is the best kind available."""


class Device(NamedTuple):
    """Cycles' device: ``kind`` is "CPU" or one of `KINDS`; ``cards``: number of cards of that kind."""

    kind: str
    cards: int = 0


def check_version(version: Sequence[int]) -> None:
    """Raise VOSForgeError unless Blender ``version`` (major, minor, ...) is one the engine is tested with."""
    if tuple(version[:2]) not in VERSIONS:
        known = " and ".join(f"{major}.{minor}" for major, minor in VERSIONS)
        raise VOSForgeError(
            f"Blender {'.'.join(map(str, version))} is not supported, only {known} are: pip install 'bpy>=5.0,<5.1'"
        )


def check_renderer(begun: str | None, renderer: str) -> None:
    """Raise VOSForgeError if the data set was ``begun`` with another renderer."""
    if begun not in (None, renderer):
        raise VOSForgeError(
            f"the data set was started with {begun}, and {renderer} may give different frames: resume with the "
            "original, render into another folder, or allow mixing with --any-renderer"
        )


def cycles_device(wanted: str, preferences: Any) -> Device:
    """Set Cycles' preferences to render on ``wanted`` (one of `DEVICES`), and say what that is here.

    ``preferences``: those of Blender's add-on "cycles". Every card of the chosen kind is used, and no other device.
    Raises VOSForgeError if there is no such device.
    """
    if wanted == "cpu":
        return Device("CPU")
    for kind in KINDS if wanted == "gpu" else (wanted.upper(),):
        if cards := _cards(preferences, kind):
            preferences.compute_device_type = kind
            for device in preferences.devices:
                device.use = device.type == kind
            return Device(kind, cards)
    there = [kind.lower() for kind in KINDS if _cards(preferences, kind)]
    missing = "GPU" if wanted == "gpu" else f"device of the kind '{wanted}'"
    raise VOSForgeError(
        f"Cycles finds no {missing} on {platform.node()}: install its driver, or render with --device "
        + " or ".join([*there, "cpu"])
    )


def _cards(preferences: Any, kind: str) -> int:
    return sum(device.type == kind for device in preferences.get_devices_for_type(kind))
