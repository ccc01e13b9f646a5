"""What processes take up, as Linux counts it: whose children they are, and how much memory they hold or have held."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MIB = 2**20


def memory(pid: int) -> dict[str, int]:
    """VmRSS (resident now), VmHWM (the most it ever was), RssAnon and so on, in bytes; {} when the process is gone."""
    try:
        lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1] == "kB"}


def parents() -> dict[int, int]:
    """Every live process and its parent."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit():  # the parent stands behind the name, which may hold anything in parentheses
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return found


def descendants(pid: int) -> dict[int, int]:
    """The live descendants of ``pid``, and the parent of each."""
    all_parents = parents()
    found: dict[int, int] = {}
    front = {pid}
    while front := {child for child, parent in all_parents.items() if parent in front and child not in found}:
        found |= {child: all_parents[child] for child in front}
    return found


def marked(mark: str) -> dict[int, str]:
    """The live processes whose environment has ``mark`` ("NAME=value"), and their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):  # it ended meanwhile
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if command and mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = command
    return found


class Peaks:
    """The most memory that a run's workers and all the rest of it (Ray's own processes, this one) came to hold."""

    def __init__(self) -> None:
        self.worker = self.rest = 0
        """Bytes: of the largest worker, its Blender process and the actor that owns it; of all that is no worker."""

    def look(self) -> None:
        """Look once. A process's own peak is kept by Linux, so that it is enough to look now and then."""
        family = descendants(os.getpid())
        blenders = {pid: owner for pid, owner in family.items() if _is_blender(pid)}
        for pid, owner in blenders.items():
            self.worker = max(self.worker, sum(memory(each).get("VmHWM", 0) for each in (pid, owner)))
        others = {os.getpid(), *family}.difference(blenders, blenders.values())
        self.rest = max(self.rest, sum(memory(each).get("VmRSS", 0) for each in others))


def _is_blender(pid: int) -> bool:
    try:
        return b"render.blender.start" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@contextmanager
def watching(seconds: float = 0.5) -> Iterator[Peaks]:
    """Look at this process's descendants every so often while it lasts."""
    peaks, done = Peaks(), threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            peaks.look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()
