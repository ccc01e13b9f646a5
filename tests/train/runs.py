"""Tiny training runs in processes of their own, which tests end at any instant."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.blobs import blob_video
from train.data.augment import Augmentation, Geometry
from train.distributed import joined
from train.losses import Bootstrap
from train.propagation import train_propagation
from train.s2m import train_s2m
from train.settings import PropagationSettings, S2MSettings, TrainSettings
from vosforge.errors import VOSForgeError
from vosforge.processes import end_on_sigterm
from vosforge.videos.video import MemoryVideo

TINY: dict[str, Any] = {
    "depth": 18,
    "width": 0.125,
    "device": "cpu",
    "lr": 2e-3,
    "warmup": 2,
    "loss": Bootstrap(start=0.2, end=0.8),
}


def crop(size: int, **geometry: Any) -> Augmentation:
    return Augmentation(geometry=Geometry(crop=size, cubic=False, **geometry))


def s2m(**changes: Any) -> S2MSettings:
    return S2MSettings(augmentation=crop(64, short_side=80), **{**TINY, "batch": 2, **changes})


def propagation(**changes: Any) -> PropagationSettings:
    settings = {**TINY, "batch": 4, "match_weight": 1.0, **changes}
    return PropagationSettings(augmentation=crop(64, area=(0.3, 1.0)), **settings)


def videos() -> list[MemoryVideo]:
    """Three of six frames, with one, two and two objects."""
    return [blob_video(seed, num_frames=6, num_objects=min(seed + 1, 2)) for seed in range(3)]


def losses(out: Path, kind: str) -> list[float]:
    lines = [json.loads(line) for line in (out / f"{kind}.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


def started(settings: TrainSettings, out: Path, *before: str, **environment: str) -> "subprocess.Popen[str]":
    """A process that trains on `videos`; ``before``: a launcher and its arguments.

    Under torchrun each process leaves its number in a file beside ``out``, named for its rank.
    """
    command = [*(before or (sys.executable,)), str(Path(__file__)), type(settings).__name__, str(out)]
    return subprocess.Popen(
        [*command, settings.model_dump_json()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )


def together(count: int, job: Callable[[], object]) -> list[int | None]:
    """Do ``job`` in ``count`` processes, joined as torchrun's are but forked, which saves imports; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def member(rank: int) -> None:
        os.environ |= {
            "RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        with joined():
            job()

    processes = [multiprocessing.get_context("fork").Process(target=member, args=(rank,)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def run(kind: str, out: Path, told: str) -> None:
    """Train as told, printing each step."""
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        (out.parent / f"{out.name}.{os.environ['RANK']}").write_text(str(os.getpid()))
    train, settings = {
        "S2MSettings": (train_s2m, S2MSettings),
        "PropagationSettings": (train_propagation, PropagationSettings),
    }[kind]
    with joined():
        train(  # type: ignore[operator]
            videos(), settings.model_validate_json(told), out, lambda step, *_: print(step, flush=True), basis=told
        )


if __name__ == "__main__":
    end_on_sigterm()
    try:
        run(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    except VOSForgeError as error:
        sys.exit(f"vosforge: {error}")
