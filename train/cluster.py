"""One training run in several processes on Ray: actors do what torchrun's processes would, process 0's console is here.

Ray core, not Ray Train, which needs pandas and pyarrow and would add only placement and torchrun's variables.
`train.distributed` is what the processes do together. All nodes must see the same folders under the same paths.
"""

import io
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from train.distributed import FAILED, joined, lost_processes
from vosforge.errors import InputError, VOSForgeError
from vosforge.extras import extra
from vosforge.log import console, console_look, logger, set_up_logging, show_in
from vosforge.processes import cores, sigterm_kept
from vosforge.trouble import attempting

with extra("cluster", "training with --address or --processes needs Ray"):
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.placement_group import PlacementGroup, placement_group
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

    from vosforge.cluster import join_ray, start_ray

PATIENCE = 60.0
"""Seconds to wait for cores and GPUs that others use."""
REFRESH = 0.2
"""Seconds between two looks at process 0's console."""


class Layout(NamedTuple):
    """So many processes with so many cores each, and a GPU each or none."""

    processes: int
    cores: int
    gpu: bool

    def __str__(self) -> str:
        plural, gpu = "es" * (self.processes > 1), " and a GPU" * self.gpu
        return f"{self.processes} process{plural} with {self.cores} core{'s' * (self.cores > 1)}{gpu} each"


class Place(NamedTuple):
    """Where Ray put a process: the node, its IP address, a free port there, and the GPUs that it may use."""

    node: str
    address: str
    port: int
    gpus: tuple[str, ...]


class _Screen(io.StringIO):
    """A text file whose content goes to the user's console."""

    def __init__(self, lines: Queue) -> None:
        super().__init__()
        self._lines = lines

    def write(self, text: str) -> int:
        self._lines.put(text)
        return len(text)


class _Process:
    """The actor: one process of the run."""

    def place(self, folder: str) -> Place | VOSForgeError:
        """Enter ``folder``, for the sake of relative paths, and say where this is."""
        address = ray.util.get_node_ip_address()
        try:
            os.chdir(folder)
        except OSError as error:
            return InputError(
                f"cannot use {folder} on the Ray node {address} ({os.strerror(error.errno or 0)}): all nodes must see "
                "the same folders"
            )
        context = ray.get_runtime_context()
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        return Place(context.get_node_id(), address, port, tuple(context.get_accelerator_ids().get("GPU", ())))

    def run(
        self,
        job: Callable[[], object],
        environment: Mapping[str, str],
        threads: int,
        verbose: bool,
        lines: Queue | None,
        look: dict[str, Any],
    ) -> VOSForgeError | int:
        """Do ``job`` as one of several; returns an exit code, or the error that tells what happened."""
        os.environ |= environment
        torch.set_num_threads(threads)
        if lines is not None:
            show_in(_Screen(lines), look)
        set_up_logging(verbose)
        try:
            with joined(), attempting("train"):
                job()
        except VOSForgeError as error:
            return error
        except SystemExit:  # Ray would take it for the end of the actor
            return FAILED
        return 0


def train_on_ray(
    job: Callable[[], object], address: str | None = None, processes: int | None = None, gpus: bool = True
) -> None:
    """Do ``job`` in several processes, joined, of the Ray cluster at ``address``, or of a Ray started here.

    ``job``: a function of an installed module with its arguments; it is pickled. ``processes``: None: one per GPU, or
    one per node of a cluster without GPUs. ``gpus``: whether each has a GPU where there are any. The cores are shared
    evenly. What process 0's console shows is shown here.
    Raises the error of the process that tells what happened, and MachineError, with its number, when one dies.
    """
    if "WORLD_SIZE" in os.environ:
        raise InputError("torchrun starts the processes itself: leave out --address and --processes, or torchrun")
    try:
        with sigterm_kept():
            if address is not None:
                join_ray(address)
            else:
                start_ray(max(cores(), processes or 1), torch.cuda.device_count() if gpus else 0)
        with sigterm_kept():
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            _run(job, layout_on(nodes, processes, gpus))
    finally:
        ray.shutdown()


def layout_on(nodes: Sequence[Mapping[str, float]], processes: int | None, gpus: bool) -> Layout:
    """The layout with most cores per process that fits on nodes with such resources; InputError if none does."""
    cards = [int(node.get("GPU", 0)) if gpus else 0 for node in nodes]
    available = [int(node.get("CPU", 0)) for node in nodes]
    gpu = any(cards)
    count = processes or sum(cards) or max(1, sum(number > 0 for number in available))
    if gpu and count > sum(cards):
        raise InputError(
            f"{count} processes need a GPU each, and Ray has {sum(cards)}: lower --processes, or set the networks' "
            "device to cpu"
        )
    for each in range(max(available, default=0), 0, -1):
        room = [number // each for number in available]
        if sum(map(min, room, cards) if gpu else room) >= count:
            return Layout(count, each, gpu)
    raise InputError(f"{count} processes need a core each, and Ray has {sum(available)}: lower --processes")


def environments(places: Sequence[Place]) -> list[dict[str, str]]:
    """The variables that torchrun would set, for processes at ``places``, by rank.

    All processes of a node see its GPUs, as NCCL wants it, in their order: GPU 0 belongs to the first of them.
    """
    found = []
    for rank, place in enumerate(places):
        on_node = [other for other in places if other.node == place.node]
        environment = {
            "RANK": str(rank),
            "WORLD_SIZE": str(len(places)),
            "LOCAL_RANK": str(sum(other.node == place.node for other in places[:rank])),
            "LOCAL_WORLD_SIZE": str(len(on_node)),
            "MASTER_ADDR": places[0].address,
            "MASTER_PORT": str(places[0].port),
        }
        if place.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu for other in on_node for gpu in other.gpus)
        found.append(environment)
    return found


def _run(job: Callable[[], object], layout: Layout) -> None:
    processes = _started(layout)
    try:
        places = ray.get([process.place.remote(str(Path.cwd())) for process in processes])
    except RayTaskError:  # a bug
        raise
    except RayError as error:
        why = str(error).strip().splitlines()[-1].strip()  # of the traceback there
        raise VOSForgeError(
            f"the nodes of the Ray cluster cannot start the training processes ({why}): install this version of "
            "vosforge on all of them"
        ) from error
    if errors := [place for place in places if isinstance(place, VOSForgeError)]:
        raise errors[0]
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    lines = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    verbose = logger.isEnabledFor(logging.DEBUG)
    waiting = {
        process.run.remote(job, environment, layout.cores, verbose, None if rank else lines, console_look()): rank
        for rank, (process, environment) in enumerate(zip(processes, environments(places), strict=True))
    }
    failed = False
    while waiting:
        done, _ = ray.wait(list(waiting), timeout=REFRESH)
        _show(lines)
        for reference in done:
            failed |= _outcome(reference, waiting.pop(reference), layout.processes) != 0
    if failed:
        raise SystemExit(FAILED)


def _started(layout: Layout) -> list[Any]:
    """The actors, each in its part of the cluster."""
    needs = {"CPU": float(layout.cores)} | ({"GPU": 1.0} if layout.gpu else {})
    # GPUs of one node talk faster than those of two; cores compute faster the fewer share a node.
    group: PlacementGroup = placement_group([needs] * layout.processes, strategy="PACK" if layout.gpu else "SPREAD")
    if not group.wait(PATIENCE):
        raise VOSForgeError(f"Ray has no room now for {layout}: try again later, or lower --processes")
    actor = ray.remote(num_cpus=layout.cores, num_gpus=int(layout.gpu))(_Process)
    return [
        actor.options(
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number)
        ).remote()
        for number in range(layout.processes)
    ]


def _outcome(reference: Any, rank: int, count: int) -> int:
    """The exit code of process ``rank``, which has ended; raises its error."""
    try:
        outcome = ray.get(reference)
    except RayTaskError:  # a bug
        raise
    except RayError as error:
        raise lost_processes([rank], count) from error
    if isinstance(outcome, VOSForgeError):
        raise outcome
    return outcome


def _show(lines: Queue) -> None:
    """Show what process 0's console has shown since the last look."""
    while number := lines.qsize():
        console.file.write("".join(lines.get_nowait_batch(number)))
        console.file.flush()
