"""The training loop of all three networks: Adam steps, a history, checkpoints to resume from."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from mivos_models import save_network
from mivos_models.networks.mobilenet import MobileNetV2
from mivos_models.networks.resnet import ResNet
from train.checkpoint import TrainingState, read_checkpoint
from train.data.order import RunOrder
from train.distributed import average, is_main, local_rank, local_world, parallel, rank, unsynchronised, world
from train.history import History
from train.settings import TrainSettings
from train.watch import Watch
from vosforge import InputError
from vosforge.processes import short_folder
from vosforge.seeding import rng_for

OnStep = Callable[[int, int, float], None]
"""Called after every step with (steps done, total steps, loss)."""

Validate = Callable[[nn.Module, int], Mapping[str, float]]
"""Scores of a network after so many steps, such as J&F of held-out videos; the highest ``jf`` is the best network."""

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16, True: torch.bfloat16}
PREFETCHED = 4
"""Batches that each worker prepares ahead."""


class Step(NamedTuple):
    """What a loss depends on besides its batch: the step (from 0) and the share of pixels that count.

    ``objects``: the present objects of a batch, averaged over all processes and parts of the step, by which a loss over
    objects is divided; None: those of the batch itself, which is the whole step's.
    """

    number: int
    share: float
    objects: Tensor | None = None


def torch_device(name: str) -> torch.device:
    """The device of the setting "auto", "cpu" or "cuda"; InputError for a CUDA device that is not there.

    Of several processes on a machine each has its own GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.device_count() <= local_rank():
        raise InputError("this machine has no CUDA device that torch can use; choose the device 'cpu' or 'auto'")
    if name == "cuda" and world() > 1:
        torch.cuda.set_device(local_rank())
        name = f"cuda:{local_rank()}"
    return torch.device(name)


def fit(
    kind: str,
    network: nn.Module,
    samples: Dataset[Any],
    loss_of: Callable[[Any, Step], Tensor],
    settings: TrainSettings,
    out: Path,
    on_step: OnStep | None = None,
    *,
    basis: str | None = None,
    validate: Validate | None = None,
) -> Path:
    """Train ``network`` (already on its device) on ``samples`` in order, once through; return its checkpoint.

    ``loss_of(batch, step)`` gives the scalar loss of a collated batch on the device. Writes ``<kind>_init.pth``
    before the first step, ``<kind>.jsonl`` (step, loss, seconds, lr, ``waited``: the share of the time so far in which
    there was no batch yet, and scores in ``validation``) and TensorBoard events while running, ``<kind>.pth`` at the
    end. Equal settings, samples and thread count give equal bits on a CPU. VOSForgeError when the loss diverges or the
    samples teach nothing (`Watch`).

    ``basis``: all that the run depends on, settings as JSON in its first line. With it, ``<kind>.checkpoint.pth`` is
    written every ``checkpoint_minutes``, and a run that was ended at any instant resumes from there, bit for bit on a
    CPU; see `read_checkpoint` for the errors. ``validate`` is called every ``validate_every`` steps and at the end; its
    best network is kept as ``<kind>.best.pth``, that of each ``keep_every`` steps as ``<kind>.step<number>.pth``.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = next(network.parameters()).device
    on_cuda = device.type == "cuda"
    half = HALVES.get(settings.amp) if on_cuda else None
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(rates(network, settings), lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: settings.lr_factor(step))
    scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)
    averaged = averaging(network, settings.average) if settings.average else None
    run = TrainingState(network, optimiser, schedule, scaler, averaged)
    checkpoint = out / f"{kind}.checkpoint.pth"
    saved = None if basis is None else read_checkpoint(checkpoint, basis)

    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.manual_seed(int(rng_for(settings.seed, "dropout", kind, *([rank()] if rank() else [])).integers(2**63)))
        if saved is not None:
            run.load(saved)
        elif is_main():
            save_network(network, out / f"{kind}_init.pth")
        module = parallel(prepared(network, loss_of, settings), device)
        batches = Prefetched(samples, settings, device, run.steps)
        started, written = time.monotonic() - run.seconds, time.monotonic()
        network.train()
        watch = Watch(kind)
        with History(out, kind, run.steps) if is_main() else nullcontext() as history:
            while run.steps < settings.iterations:
                asked = time.monotonic()
                parts = [next(batches) for _ in range(settings.accumulation)]
                run.waited += time.monotonic() - asked
                step = Step(run.steps, settings.loss.share(run.steps, settings.iterations), mean_objects(parts))
                optimiser.zero_grad(set_to_none=True)
                watch.samples(torch.cat([teaching(batch) for batch in parts]))
                loss = backward(module, parts, step, scaler, half)
                if settings.clip_gradient is not None:
                    scaler.unscale_(optimiser)
                    nn.utils.clip_grad_norm_(trainable, settings.clip_gradient)
                # Process 0's clock decides for all when a checkpoint is due.
                due = is_main() and time.monotonic() - written >= settings.checkpoint_minutes * 60
                value, any_due = average(torch.stack([loss, loss.new_tensor(float(due))])).tolist()
                watch.loss(value, run.steps + 1)
                lr = schedule.get_last_lr()[0]
                scaler.step(optimiser)
                scaler.update()
                schedule.step()
                if averaged is not None:
                    averaged.update_parameters(network)
                run.steps += 1
                run.seconds = time.monotonic() - started
                ending = run.steps == settings.iterations

                if history is not None:
                    curves = {"loss": value, "lr": lr, "waited": round(run.waited / run.seconds, 4)}
                    line: dict[str, Any] = {"step": run.steps, "seconds": round(run.seconds, 3), **curves}
                    if validate is not None and (ending or run.steps % settings.validate_every == 0):
                        line["validation"] = scores = validated(validate, run, out / f"{kind}.best.pth")
                        curves |= {f"validation/{name}": score for name, score in scores.items()}
                    history.write(line, curves)
                    if settings.keep_every is not None and run.steps % settings.keep_every == 0:
                        save_network(run.result, out / f"{kind}.step{run.steps}.pth")
                if basis is not None and (any_due or ending):
                    if history is not None:
                        history.sync()
                    run.save(checkpoint, basis, settings.iterations)
                    written = time.monotonic()
                if on_step is not None and is_main():
                    on_step(run.steps, settings.iterations, value)
    network.eval()
    if is_main():
        save_network(run.result, out / f"{kind}.pth")
    return out / f"{kind}.pth"


def rates(network: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """The optimiser's groups of parameters: those of trunks, if they have their own learning rate, after the others."""
    trunks = [module for module in network.modules() if isinstance(module, ResNet | MobileNetV2)]
    inside = {parameter for trunk in trunks for parameter in trunk.parameters()} if settings.trunk_lr != 1 else set()
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [{"params": [parameter for parameter in trainable if parameter not in inside], "lr": settings.lr}]
    if inside:
        slow = [parameter for parameter in trainable if parameter in inside]
        groups.append({"params": slow, "lr": settings.lr * settings.trunk_lr})
    return groups


def averaging(network: nn.Module, decay: float) -> AveragedModel:
    """Averaged weights of ``network``: each step they move by 1 - ``decay`` towards its own, batch norm's included."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True).requires_grad_(False)


def backward(
    module: nn.Module, parts: list[Any], step: Step, scaler: torch.amp.GradScaler, half: torch.dtype | None
) -> Tensor:
    """The mean loss of the ``parts`` of a step in this process; its gradients, scaled, are added to the network's."""
    total = torch.zeros((), device=parts[0][0].device)
    for number, batch in enumerate(parts, start=1):
        with nullcontext() if number == len(parts) or world() == 1 else unsynchronised(module):
            with torch.autocast(total.device.type, half, enabled=half is not None):
                loss = module(batch, step) / len(parts)
            scaler.scale(loss).backward()
        total += loss.detach()
    return total


def prepared(network: nn.Module, loss_of: Callable[[Any, Step], Tensor], settings: TrainSettings) -> nn.Module:
    """The network under its loss: a module whose call is ``loss_of``, as DistributedDataParallel needs one."""
    if settings.channels_last:
        network.to(memory_format=torch.channels_last)
    if settings.compile:
        for part in network.children():
            part.compile()
    return _Loss(network, loss_of)


class _Loss(nn.Module):
    def __init__(self, network: nn.Module, loss_of: Callable[[Any, Step], Tensor]) -> None:
        super().__init__()
        self.network, self.loss_of = network, loss_of

    def forward(self, batch: Any, step: Step) -> Tensor:
        return self.loss_of(batch, step)


class Prefetched:
    """This process's part of the samples of a run from step ``start`` on, in batches on ``device``."""

    def __init__(self, samples: Dataset[Any], settings: TrainSettings, device: torch.device, start: int) -> None:
        parts = world() * settings.accumulation
        size, rest = divmod(settings.batch, parts)
        if rest or size < settings.smallest_part:
            raise InputError(
                f"a batch of {settings.batch} does not divide into {parts} parts (processes times accumulation) of at "
                f"least {settings.smallest_part}: choose a multiple of {parts * settings.smallest_part}"
            )
        workers = settings.num_workers(local_world())
        self._device = device
        self._batches: Iterator[Any] = iter(
            DataLoader(
                samples,
                batch_size=size,
                sampler=RunOrder(
                    len(samples),  # type: ignore[arg-type]
                    settings.batch // world(),
                    start=start,
                    rank=rank(),
                    world=world(),
                ),
                num_workers=workers,  # for the whole run, which is one pass through the samples
                multiprocessing_context="spawn" if workers else None,  # OpenCV hangs in forked processes
                worker_init_fn=_prepare_worker,
                prefetch_factor=PREFETCHED if workers else None,
                pin_memory=device.type == "cuda",
                generator=torch.Generator().manual_seed(0),  # only seeds the workers, which draw nothing from it
            )
        )

    def __next__(self) -> Any:
        return to_device(next(self._batches), self._device)


def teaching(batch: Any) -> Tensor:
    """Which samples of a batch have something to learn, bool ``[B]``."""
    if hasattr(batch, "instructive"):
        return batch.instructive
    return batch.present.any(dim=1) if hasattr(batch, "present") else torch.ones(1, dtype=torch.bool)


def mean_objects(parts: list[Any]) -> Tensor | None:
    """``Step.objects`` of the parts of a step in this process."""
    if not hasattr(parts[0], "present") or (world() == 1 and len(parts) == 1):
        return None
    counts = torch.stack([batch.present.sum() for batch in parts])
    return average(counts.float().mean())


def validated(validate: Validate, run: TrainingState, best: Path) -> dict[str, float]:
    """The scores of the network of ``run``, which is kept in the file ``best`` if it is."""
    device = next(run.network.parameters()).device
    run.result.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        scores = dict(validate(run.result, run.steps))
    run.network.train()
    if "jf" in scores and (run.best is None or scores["jf"] > run.best):
        run.best = scores["jf"]
        save_network(run.result, best)
    return scores


def to_device(batch: Any, device: torch.device) -> Any:
    """A named tuple of tensors on ``device``."""
    return type(batch)(*(tensor.to(device, non_blocking=True) for tensor in batch))


def _prepare_worker(_worker: int) -> None:
    cv2.setNumThreads(1)
    tempfile.tempdir = str(short_folder())  # where the sockets are through which it hands over its batches
