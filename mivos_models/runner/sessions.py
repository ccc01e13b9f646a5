"""A runner's session file: its interactions, without networks and frames."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from mivos_models.networks.memory import MEMORY_FRAMES, Memory
from mivos_models.networks.saved import read_tensors, write_tensors
from mivos_models.runner.fast import Precision
from mivos_models.runner.frames import Frames
from mivos_models.runner.spill import Masks, Probabilities
from mivos_models.runner.state import Remembered, State
from vosforge import InputError

SESSION_FORMAT = "vosforge session 2"


@dataclass
class Session:
    """The interactions, the network's `fingerprint`, and the settings."""

    state: State
    network: int
    top_k: int | None
    mem_every: int
    memory_frames: int
    short_side: int | None
    precision: Precision

    def save(self, path: Path, frames: Frames) -> None:
        """Write the session to ``path`` atomically; ``frames``: the video."""
        state = self.state
        held = {
            "format": SESSION_FORMAT,
            "frames": _checksum(frames),
            "network": self.network,
            "top_k": self.top_k,
            "mem_every": self.mem_every,
            "memory_frames": self.memory_frames,
            "short_side": self.short_side,
            "precision": self.precision,
            "channels": state.probabilities.channels,
            "size": state.probabilities.size,
            "probabilities": state.probabilities.mapped(),
            "masks": torch.from_numpy(state.masks.array()),
            "given": {t: torch.from_numpy(mask) for t, mask in state.given.items()},
            "replaced": sorted(state.replaced),
            "certain": [(known.frame, known.given, *(part.cpu() for part in known.memory)) for known in state.certain],
        }
        write_tensors(held, path)

    @classmethod
    def load(cls, path: Path, frames: Frames, network: int) -> Self:
        """Read a session. Raises InputError if it is invalid or belongs to other frames or another network."""
        held = _read(path)
        if held["frames"] != _checksum(frames):
            raise InputError(f"the session {path} is for other frames: pass the frames it was saved with")
        if held["network"] != network:
            raise InputError(f"the session {path} was made with another propagation network: pass that network")
        probabilities = Probabilities(held["channels"], held["size"])
        for t, planes in held["probabilities"].items():
            probabilities[t] = planes
        certain = [
            Remembered(frame, given.clone(), Memory(*(part.clone() for part in memory)))
            for frame, given, *memory in held["certain"]
        ]
        given = {t: mask.numpy().copy() for t, mask in held["given"].items()}
        state = State(probabilities, Masks.of(held["masks"].numpy()), given, certain, set(held["replaced"]))
        return cls(
            state,
            network,
            held["top_k"],
            held["mem_every"],
            held.get("memory_frames", MEMORY_FRAMES),  # earlier sessions have none
            held["short_side"],
            held["precision"],
        )


def fingerprint(network: nn.Module) -> int:
    """A checksum of the network's weights."""
    checksum = 0
    for value in network.state_dict().values():
        checksum = zlib.crc32(value.detach().cpu().contiguous().numpy().data, checksum)
    return checksum


def _checksum(frames: Frames) -> int:
    checksum = zlib.crc32(str(frames.shape).encode())
    for t in range(len(frames)):
        checksum = zlib.crc32(np.ascontiguousarray(frames[t]).data, checksum)
    return checksum


def _read(path: Path) -> dict[str, Any]:
    held = read_tensors(path, "session", mapped=True)
    if not isinstance(held, dict) or held.get("format") != SESSION_FORMAT:
        raise InputError(f"{path} is not a runner's session, or was saved by another version of VOSForge")
    return held
