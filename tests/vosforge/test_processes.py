import os
import signal
import subprocess
import sys

import pytest

from vosforge.processes import (
    CONTROL_GROUPS,
    TERMINATED,
    TIME_LIMITS,
    cores,
    end_on_sigterm,
    free_memory,
    resident_memory,
    same_arithmetic,
    sigterm_kept,
)

GIB = 2**30


@pytest.fixture
def root(tmp_path):
    """A machine with 8 GiB left and no control groups."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9000000 kB\nMemAvailable:    {8 * 2**20} kB\n")
    return tmp_path


def confine(root, version, most, used, idle):
    folder, limit, usage, reclaimable = CONTROL_GROUPS[version]
    (root / folder).mkdir(parents=True)
    for name, text in ((limit, most), (usage, used), ("memory.stat", f"anon 1\n{reclaimable} {idle}")):
        (root / folder / name).write_text(f"{text}\n")


def test_processors_with_fused_multiply_add_use_it(root):
    assert same_arithmetic(root) == {}
    for flags, expected in (("fpu sse2 avx2 fma f16c", {"OPENBLAS_CORETYPE": "Haswell"}), ("fpu sse2 avx", {})):
        (root / "proc/cpuinfo").write_text(f"model name\t: X\nflags\t\t: {flags}\nbugs\t: none\n")
        assert same_arithmetic(root) == expected


def test_without_a_limit_it_is_what_linux_has_left(root):
    assert free_memory(root) == 8 * GIB


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("most", "free"), [(4 * GIB, 2 * GIB), (1 * GIB, 0), (100 * GIB, 8 * GIB), (2**63 - 4096, 8 * GIB)]
)
def test_a_control_group_has_a_say(root, version, most, free):
    confine(root, version, most, 3 * GIB, 1 * GIB)
    assert free_memory(root) == free


def test_a_control_group_without_a_limit_has_none(root):
    confine(root, 0, "max", 3 * GIB, GIB)
    assert free_memory(root) == 8 * GIB


@pytest.mark.parametrize(("version", "texts"), [(0, ("{} 100000",)), (1, ("{}", "100000"))])
@pytest.mark.parametrize(
    ("quota", "found"), [("max", 8), (-1, 8), (400_000, 4), (250_000, 3), (20_000, 1), (6_400_000, 8)]
)
def test_a_control_group_has_a_say_in_cores(tmp_path, monkeypatch, version, texts, quota, found):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert cores(tmp_path) == 8
    for name, text in zip(TIME_LIMITS[version], texts, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.format(quota) + "\n")
    assert cores(tmp_path) == found


def test_this_machine_has_both():
    assert cores() >= 1 and free_memory() > 0


@pytest.fixture
def sigterm():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_raises_once(sigterm):
    end_on_sigterm()
    with pytest.raises(SystemExit) as end:
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == TERMINATED == 143
    signal.raise_signal(signal.SIGTERM)  # while things are put in order


def test_a_library_that_takes_sigterm_gives_it_back(sigterm):
    end_on_sigterm()
    ours = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end, sigterm_kept():
        signal.signal(signal.SIGTERM, lambda number, _: exit(number))
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == TERMINATED
    assert signal.getsignal(signal.SIGTERM) is ours


def test_a_library_that_changes_the_code_of_our_exit_does_not(sigterm):
    end_on_sigterm()
    with pytest.raises(SystemExit) as end, sigterm_kept():
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            raise SystemExit(1) from None
    assert end.value.code == TERMINATED
    with pytest.raises(SystemExit) as end, sigterm_kept():
        raise SystemExit(1)
    assert end.value.code == 1


def test_what_a_process_holds_in_memory_is_known_while_it_lives():
    script = "x = b'1' * 99_000_000; print('made', flush=True); input()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"made\n"
        assert 99_000_000 < resident_memory(process.pid) < 200_000_000
        process.kill()
    assert resident_memory(process.pid) == resident_memory(None) == 0
