"""Checkpoints of an unfinished run: all that the same command needs to resume it as if nothing had happened."""

import json
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from mivos_models.networks.saved import read_tensors, write_tensors
from train.distributed import gathered, is_main, rank
from train.settings import TrainSettings
from vosforge import InputError


@dataclass
class TrainingState:
    """A run between two steps: what learns, and how far it is; ``averaged``: the weights' average, if the run has one.

    ``steps`` done, in ``seconds``, of which ``waited`` without a batch; ``best``: the highest score in validation.
    """

    network: nn.Module
    optimiser: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    averaged: AveragedModel | None = None
    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    best: float | None = None

    @property
    def result(self) -> nn.Module:
        """The network that the run gives: with averaged weights, if it has them."""
        return self.network if self.averaged is None else self.averaged.module

    def save(self, path: Path, basis: str, iterations: int) -> None:
        """Write the run to ``path`` atomically, with the random states of all processes, which all call this."""
        random = gathered(_random_state(self.network))
        if is_main():
            held = {
                "basis": basis,
                "finished": self.steps == iterations,
                "network": self.network.state_dict(),
                "optimizer": self.optimiser.state_dict(),
                "scheduler": self.schedule.state_dict(),
                "scaler": self.scaler.state_dict(),
                "random": random,
                "averaged": None if self.averaged is None else self.averaged.state_dict(),
                **{name: getattr(self, name) for name in _NUMBERS},
            }
            write_tensors(held, path)

    def load(self, held: dict[str, Any]) -> None:
        """Become what ``held``, as `read_checkpoint` gives it, describes, torch's random states included."""
        self.network.load_state_dict(held["network"])
        self.optimiser.load_state_dict(held["optimizer"])
        self.schedule.load_state_dict(held["scheduler"])
        self.scaler.load_state_dict(held["scaler"])
        if self.averaged is not None:
            self.averaged.load_state_dict(held["averaged"])
        for name in _NUMBERS:
            setattr(self, name, held[name])
        if rank() < len(held["random"]):  # a process that was not there begins its own
            _set_random_state(self.network, held["random"][rank()])


BASES = ("data", "the propagation network", "the weights to start from")
"""What the lines of a basis after its settings stand for."""
_NUMBERS = ("steps", "seconds", "waited", "best")


def read_checkpoint(path: Path, basis: str, *, mapped: bool = False) -> dict[str, Any] | None:
    """The run to resume, for `TrainingState.load`; None if there is none, or only a finished one of another basis.

    ``basis``: what the run depends on, a line each, the first its settings as JSON. ``mapped``: leave the tensors in
    the file, to look only. InputError for an unfinished run of another basis: what took long and was not completed is
    not overwritten.
    """
    if not path.exists():
        return None
    held = read_tensors(path, "checkpoint", mapped=mapped)
    if not isinstance(held, dict) or "basis" not in held:
        raise InputError(f"{path} is not a checkpoint of an unfinished run: move it elsewhere")
    changed = differences(held["basis"], basis)
    if not changed:
        return held
    if held["finished"]:
        return None
    raise InputError(
        f"{path} is of an unfinished run with other settings or data (changed: {', '.join(changed)}): resume it with "
        "its own, name another output folder, or delete that file to start anew"
    )


def differences(first: str, second: str) -> list[str]:
    """The names of what differs between two bases, leaving out settings that never change a network."""
    (one, *rest), (two, *others) = (text.rstrip("\n").split("\n") for text in (first, second))
    named = zip_longest(BASES, rest, others, fillvalue="")
    changed = [name for name, before, now in named if before != now]
    if one != two:
        try:
            a, b = json.loads(one), json.loads(two)
        except ValueError:  # not written by this version
            return ["settings", *changed]
        changed[:0] = sorted(name for name in {*a, *b} - TrainSettings.run_only if a.get(name) != b.get(name))
    return changed


def _random_state(network: nn.Module) -> dict[str, Any]:
    device = next(network.parameters()).device
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"cpu": torch.get_rng_state(), "cuda": on_device}


def _set_random_state(network: nn.Module, state: dict[str, Any]) -> None:
    device = next(network.parameters()).device
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
