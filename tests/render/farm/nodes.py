"""Ray nodes as processes of a test's own on this machine, each with its own address, and nothing else is touched.

    with Cluster(folder) as cluster:  # a head at 127.0.0.1
        second = cluster.add()  # at 127.0.0.2
        second.kill()  # as a machine that is lost

The processes of a node bear its mark in their environment, and its workers and their Blender processes inherit it: that
is how they are found, and ended.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.processes import marked

OWN_MOUNTS = ("unshare", "--mount", "--propagation=private")
"""Words that start a command in a mount namespace of its own."""
MARK = "VOSFORGE_TEST_NODE"
START_SECONDS, END_SECONDS = 60.0, 20.0
OPTIONS = ("--block", "--num-gpus=0", f"--object-store-memory={80 * 2**20}", "--disable-usage-stats")
HEALTH = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}
"""A lost node is noticed in about two seconds."""


def hiding(folders: Iterable[Path]) -> list[str]:
    """Words that start a command in a mount namespace where ``folders`` are empty."""
    mounts = "; ".join(f"mount -t tmpfs none '{folder}'" for folder in folders)
    return [*OWN_MOUNTS, "sh", "-ec", f'{mounts}; exec "$@"', "sh"]


def free_port(host: str = "127.0.0.1") -> int:
    """A port where nothing listens."""
    with socket.socket() as server:
        server.bind((host, 0))
        return int(server.getsockname()[1])


class Node:
    """``ray start --block`` in a session of its own, and what it started."""

    def __init__(
        self,
        host: str,
        options: Sequence[str],
        log: Path,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] = {},
    ) -> None:
        """Returns when the node has joined; raises RuntimeError, with its log, if it does not.

        ``prefix``: words before ``ray start``, such as "unshare", "--mount"; ``environment``: variables beside those of
        this process.
        """
        self.host, self.mark = host, f"{MARK}={secrets.token_hex(8)}"
        command = [*prefix, sys.executable, "-u", "-m", "ray.scripts.scripts", "start", *OPTIONS, *options]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*command, f"--node-ip-address={host}"],
                env={**os.environ, **HEALTH, **environment, MARK: self.mark.partition("=")[2]},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while "Ray runtime started" not in (said := log.read_text()):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the Ray node at {host} did not start: {said}")
                time.sleep(0.1)
        except BaseException:
            self.end()
            raise

    @property
    def processes(self) -> dict[int, str]:
        """The live processes of the node, workers and their children included, and their command lines."""
        return marked(self.mark)

    @property
    def raylet(self) -> int:
        """The process id of its raylet."""
        (pid,) = (pid for pid, command in self.processes.items() if command.split()[0].endswith("/raylet"))
        return pid

    def kill(self) -> None:
        """Kill the raylet. The other processes of the node then end by themselves."""
        os.kill(self.raylet, signal.SIGKILL)

    def end(self) -> None:
        """Kill all processes of the node, and nothing else."""
        deadline = time.monotonic() + END_SECONDS
        while left := {*self.processes, *([] if self.process.poll() is not None else [self.process.pid])}:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes of the Ray node at {self.host} do not end: {self.processes}")
            time.sleep(0.1)


class Cluster:
    """A head and further nodes. A context manager that ends them."""

    def __init__(self, folder: Path, cores: int = 2, memory: int = 4 * 2**30) -> None:
        """Starts nothing yet. ``folder``: for Ray's files, with a short path; ``cores`` and ``memory``: of the head."""
        self.folder, self.nodes = folder, list[Node]()
        self.token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        """Variables that let a driver join it."""
        self.address = f"127.0.0.1:{free_port()}"
        self._head = cores, memory

    def __enter__(self) -> Self:
        port = self.address.partition(":")[2]
        head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
        self._start("127.0.0.1", (*head, f"--ray-client-server-port={free_port()}"), *self._head)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for node in self.nodes:
            node.end()

    def add(
        self,
        cores: int = 2,
        memory: int = 4 * 2**30,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] = {},
    ) -> Node:
        """Start a further node, at the next loopback address; see `Node`."""
        host = f"127.0.0.{len(self.nodes) + 1}"
        return self._start(host, (f"--address={self.address}", *options), cores, memory, prefix, environment)

    def _start(
        self,
        host: str,
        options: Sequence[str],
        cores: int,
        memory: int,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] = {},
    ) -> Node:
        log = self.folder / f"node-{len(self.nodes)}.log"
        options = (*options, f"--num-cpus={cores}", f"--memory={memory}")
        node = Node(host, options, log, prefix, {**self.token, **environment})
        self.nodes.append(node)
        return node
