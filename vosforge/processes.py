"""Helper processes: how many fit, and how they end (with their owner, ignoring Ctrl-C)."""

import ctypes
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vosforge.errors import InputError

PR_SET_PDEATHSIG = 1
TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM."""
CONTROL_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of versions 2 and 1: the folder, the files with what may be and what is used, and how much of that are idle pages of
files, which Linux gives back."""


TIME_LIMITS = (
    ("sys/fs/cgroup/cpu.max",),
    ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""Of versions 2 and 1: the files with the processor time that may be used, and within which time (then again)."""


LONGEST_FOLDER = 40
"""Characters of a folder below which sockets, Ray's too, have paths of less than 108 characters, the most there are."""
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def short_folder(preferred: str = "") -> Path:
    """A folder for sockets: ``preferred`` or the temporary folder if short enough, else one of SHORT_FOLDERS.

    Raises InputError if no such folder is writable.
    """
    wanted = (preferred, tempfile.gettempdir(), *SHORT_FOLDERS)
    for folder in (Path(name).absolute() for name in wanted if name):
        if len(str(folder)) <= LONGEST_FOLDER and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise InputError(f"sockets need a folder with a path of at most {LONGEST_FOLDER} characters: set TMPDIR to one")


def same_arithmetic(root: Path = Path("/")) -> dict[str, str]:
    """Environment of processes that must compute the same, to the last bit, on all machines of one kind.

    OpenBLAS (numpy's matrix products) knows CPUs by name. It takes one newer than itself for one without fused
    multiply-add, which rounds differently. Numpy reads this when it is imported. ``root``: where ``proc`` is.
    """
    info = root / "proc/cpuinfo"
    flags = info.read_text().partition("\nflags")[2].partition("\n")[0].split() if info.exists() else []
    return {"OPENBLAS_CORETYPE": "Haswell"} if {"avx2", "fma"} <= set(flags) else {}


def cores(root: Path = Path("/")) -> int:
    """Usable cores: this process's affinity, or its control group's quota if lower.

    ``root``: where ``sys`` is.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in TIME_LIMITS:
        if all((root / name).exists() for name in files):
            quota, period = " ".join((root / name).read_text() for name in files).split()
            if quota not in ("max", "-1"):
                count = min(count, -(-int(quota) // int(period)))
    return count


def free_memory(root: Path = Path("/")) -> int:
    """Bytes available to new processes: free memory, or its control group's limit if lower.

    ``root``: where ``proc`` and ``sys`` are.
    """
    lines = (line.split(":") for line in (root / "proc/meminfo").read_text().splitlines())
    free = int(dict(lines)["MemAvailable"].split()[0]) * 1024
    for folder, limit, used, reclaimable in CONTROL_GROUPS:
        group = root / folder
        if (group / limit).exists() and (most := (group / limit).read_text().strip()) != "max":
            counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            held = int((group / used).read_text()) - int(counts[reclaimable])
            free = min(free, int(most) - held)
    return max(free, 0)


def resident_memory(pid: int | None) -> int:
    """Bytes that process ``pid`` holds in memory; 0 where that is unknown, or the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def end_with_owner() -> None:
    """Make the kernel kill this process when its owner dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C inside the block; processes started there keep ignoring it and leave it to their owner."""
    if threading.current_thread() is not threading.main_thread():  # Python sets signals in the main thread only
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_on_sigterm() -> None:
    """Make SIGTERM end this process like Ctrl-C, with clean-up, and exit code 143."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is put in order now is not interrupted again
        sys.exit(TERMINATED)

    if threading.current_thread() is threading.main_thread():  # Python sets signals in the main thread only
        signal.signal(signal.SIGTERM, end)


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Keep SIGTERM's handler and exit code, in case a library (such as Ray) replaces them in the block."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as end:  # Ray's handler exits with the signal's number; while it waits, ours with 1
        ours_ended = before != signal.SIG_IGN and signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        raise SystemExit(TERMINATED if ours_ended or end.code == signal.SIGTERM else end.code) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
