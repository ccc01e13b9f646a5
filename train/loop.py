"""The training loop of all three networks: Adam steps, a history and two checkpoints."""

import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

from mivos_models import load_imagenet, save_network
from mivos_models.networks.resnet import ResNet
from train.data.order import RunOrder
from train.settings import TrainSettings
from vosforge import InputError, VOSForgeError
from vosforge.processes import short_folder
from vosforge.seeding import rng_for

OnStep = Callable[[int, int, float], None]
"""Called after every step with (steps done, total steps, loss)."""

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class Step(NamedTuple):
    """Schedule inputs of a loss besides the batch: the step (from 0) and the share of pixels that count."""

    number: int
    share: float


def torch_device(name: str) -> torch.device:
    """The device of the setting "auto", "cpu" or "cuda"; InputError for a CUDA device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("this machine has no CUDA device that torch can use; choose the device 'cpu' or 'auto'")
    return torch.device(name)


def initialised(build: Callable[[], NetworkT], seed: int, kind: str, imagenet: str | None = None) -> NetworkT:
    """The network ``build`` makes, with weights that depend on ``seed`` and ``kind`` only, and ``imagenet``.

    ``imagenet``: what its trunks start from, as in :func:`mivos_models.load_imagenet`; None: random weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng_for(seed, "weights", kind).integers(2**63)))
        network = build()
        if imagenet is not None:
            for trunk in (module for module in network.modules() if isinstance(module, ResNet)):
                load_imagenet(trunk, imagenet)
        return network


def fit(
    kind: str,
    network: nn.Module,
    samples: Dataset[Any],
    loss_of: Callable[[Any, Step], Tensor],
    settings: TrainSettings,
    out: Path,
    on_step: OnStep | None = None,
) -> Path:
    """Train ``network`` (already on its device) on ``samples`` in order, once through; return its checkpoint.

    ``loss_of(batch, step)`` gives the scalar loss of a collated batch on the device. Writes ``<kind>_init.pth``
    before the first step, ``<kind>.jsonl`` (step, loss, seconds, lr, and
    ``waited``: the share of the time so far in which there was no batch yet) and TensorBoard events while running,
    ``<kind>.pth`` at the end. Equal settings, samples and thread count give equal bits on a CPU. VOSForgeError when
    the loss stops being a number.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = next(network.parameters()).device
    save_network(network, out / f"{kind}_init.pth")
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trainable, lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, settings.lr_factor)
    batches = DataLoader(
        samples,
        batch_size=settings.batch,
        sampler=RunOrder(len(samples), settings.batch),  # type: ignore[arg-type]
        num_workers=settings.workers,
        multiprocessing_context="spawn" if settings.workers else None,  # OpenCV hangs in forked processes
        worker_init_fn=_prepare_worker,
        pin_memory=device.type == "cuda",
        generator=torch.Generator().manual_seed(0),  # only seeds the workers, which draw nothing from it
    )
    started = time.monotonic()
    network.train()
    cuda_devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=cuda_devices),
        (out / f"{kind}.jsonl").open("w") as history,
        SummaryWriter(str(out / "tensorboard" / kind)) as board,
    ):
        torch.manual_seed(int(rng_for(settings.seed, "dropout", kind).integers(2**63)))
        waited, asked = 0.0, time.monotonic()
        for index, batch in enumerate(batches):
            waited += time.monotonic() - asked
            share = settings.loss.share(index, settings.iterations)
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.amp and device.type == "cuda"):
                loss = loss_of(to_device(batch, device), Step(index, share))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if settings.clip_gradient is not None:
                nn.utils.clip_grad_norm_(trainable, settings.clip_gradient)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise VOSForgeError(
                    f"training {kind} diverged: the loss became {value} at step {index + 1}; lower lr or clip_gradient"
                )
            lr = schedule.get_last_lr()[0]
            optimiser.step()
            schedule.step()
            seconds = time.monotonic() - started
            line = {
                "step": index + 1,
                "loss": value,
                "seconds": round(seconds, 3),
                "lr": lr,
                "waited": round(waited / seconds, 4),
            }
            history.write(json.dumps(line) + "\n")
            history.flush()
            board.add_scalar("loss", value, index + 1)
            board.add_scalar("lr", lr, index + 1)
            board.add_scalar("waited", waited / seconds, index + 1)
            if on_step is not None:
                on_step(index + 1, settings.iterations, value)
            asked = time.monotonic()
    network.eval()
    save_network(network, out / f"{kind}.pth")
    return out / f"{kind}.pth"


def to_device(batch: Any, device: torch.device) -> Any:
    """A named tuple of tensors on ``device``."""
    return type(batch)(*(tensor.to(device, non_blocking=True) for tensor in batch))


def _prepare_worker(_worker: int) -> None:
    cv2.setNumThreads(1)
    tempfile.tempdir = str(short_folder())  # where the sockets are through which it hands over its batches
