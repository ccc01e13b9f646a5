"""One training run in several processes, of torchrun or Ray: who they are, what they share, which one was lost.

Every process computes its share of each batch; gradients are averaged (DistributedDataParallel), so that the run is
that of one process with the whole batch. Batch norm that learns uses the statistics of the whole batch on GPUs; on CPUs
those of each process's share, and process 0's are saved. Process 0 alone writes. All processes must see the data and
the output folder under the same paths. Without torchrun there is one process.
"""

import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from vosforge.errors import MachineError, VOSForgeError

BEAT_SECONDS = 0.5
SILENCE_SECONDS = 3.0
"""A process that has not beaten for so long is lost."""
FAILED = 1
OF_OTHERS = re.compile(r"gloo|nccl|TCPStore|connection (closed|reset|refused)|broken pipe", re.IGNORECASE)

ValueT = TypeVar("ValueT")


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """This process's number on its machine: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0)) if world() > 1 else 0


def local_world() -> int:
    """How many of the processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if world() > 1 else 1


def is_main() -> bool:
    """Whether this process writes and reports."""
    return rank() == 0


def average(value: Tensor) -> Tensor:
    """The mean of a tensor over all processes; itself where there is one."""
    if world() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / world()


def gathered(value: ValueT) -> list[ValueT]:
    """Everybody's ``value``, by rank; plain data."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def from_main(value: ValueT) -> ValueT:
    """Process 0's ``value``, plain data, in all processes, once all have come here."""
    return gathered(value)[0]


def parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """``module``, so that its gradients are averaged over all processes; it starts with process 0's weights."""
    if world() == 1:
        return module
    devices = [device] if device.type == "cuda" else None
    with warnings.catch_warnings():
        # Newer versions of torch want another name, which older ones do not know.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return DistributedDataParallel(module, device_ids=devices, broadcast_buffers=False)


def unsynchronised(module: nn.Module) -> Any:
    """A block in which gradients only add up in each process, before the last part of a batch."""
    assert isinstance(module, DistributedDataParallel)
    return module.no_sync()


def synchronise_batch_norm(network: nn.Module) -> None:
    """Have batch norm learn from the whole batch, where there are several processes with GPUs."""
    if world() > 1 and next(network.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun or `train.cluster` started, for the block; nothing where there is one.

    An error that a user can mend names its process. When a process is lost, one of the others raises MachineError,
    which names it, and the rest exit.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    store, number, count = next(dist.rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _Pulse(store, number, count) as pulse:
        dist.init_process_group(backend, store=dist.PrefixStore("training", store), rank=number, world_size=count)
        try:
            yield
            dist.barrier()
        except BaseException as error:
            raise pulse.verdict(error) from error
        finally:
            with suppress(RuntimeError):
                dist.destroy_process_group()


def lost_processes(lost: Iterable[int], count: int) -> MachineError:
    """The error that names the processes that died."""
    return MachineError(
        f"process {', '.join(map(str, sorted(lost)))} of {count} died (killed, out of memory, or its machine is gone): "
        "run the same command again to resume"
    )


class _Pulse:
    """Tells the processes that live from the lost: each adds to its own number in the store, twice a second."""

    def __init__(self, store: dist.Store, number: int, count: int) -> None:
        self.store, self.number, self.count = store, number, count
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(store.clone(),), daemon=True)

    def __enter__(self) -> "_Pulse":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self, store: dist.Store) -> None:
        with suppress(RuntimeError):  # the store is gone with the process that holds it, or the run is over
            while not self._ended.wait(BEAT_SECONDS):
                store.add(f"beat/{self.number}", 1)

    def verdict(self, error: BaseException) -> BaseException:
        """What to raise in place of ``error``: one process tells what happened, the others only exit."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, once it has noticed too
        passive = isinstance(error, SystemExit | KeyboardInterrupt | dist.DistError) or (
            isinstance(error, RuntimeError) and OF_OTHERS.search(str(error)) is not None
        )
        try:
            self.store.set(f"end/{self.number}", "passive" if passive else "failed")
            if not passive:
                return self._own(error)
            lost, failed = self._others()
        except RuntimeError:
            return MachineError(
                f"process 0 of {self.count}, through which the others meet, cannot be reached: run the same command "
                "again to resume"
            )
        if lost:
            told_by = min(set(range(self.count)) - lost)
            return lost_processes(lost, self.count) if told_by == self.number else SystemExit(FAILED)
        return SystemExit(FAILED) if failed else error

    def _own(self, error: BaseException) -> BaseException:
        if not isinstance(error, VOSForgeError):
            return error
        if self.number and self._ended_as("failed", 0):  # all failed alike: one tells
            return SystemExit(error.exit_code)
        return type(error)(f"process {self.number} of {self.count}: {error}")

    def _ended_as(self, how: str, number: int) -> bool:
        time.sleep(BEAT_SECONDS)
        key = f"end/{number}"
        return self.store.check([key]) and self.store.get(key) == how.encode()

    def _others(self) -> tuple[set[int], bool]:
        """The lost processes, and whether another failed and says so itself."""
        everybody = range(self.count)
        before = [self.store.add(f"beat/{number}", 0) for number in everybody]
        time.sleep(SILENCE_SECONDS)
        ended = {number for number in everybody if self.store.check([f"end/{number}"])}
        beating = {number for number in everybody if self.store.add(f"beat/{number}", 0) > before[number]}
        failed = any(self.store.get(f"end/{number}") == b"failed" for number in ended)
        return set(everybody) - ended - beating, failed
