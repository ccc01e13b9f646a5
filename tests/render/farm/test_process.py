"""How a Blender process ends, with scripts in Blender's place."""

import errno
import itertools
import os
import signal
import sys
from pathlib import Path

import pytest

from render.farm.events import Done, Frames
from render.farm.process import BlenderCrashError, BlenderProcess, BlenderUnusableError
from vosforge.errors import MachineError, VOSForgeError

pytestmark = pytest.mark.blender  # only for the module, which is looked for

READY = "from multiprocessing.connection import Connection; import sys, os\n"
READY += "from render.farm.events import Done, Failed, Frames, Ready\n"
READY += "owner = Connection(int(sys.argv[3])); owner.send(Ready()); job = owner.recv()\n"


@pytest.fixture
def blender(tmp_path, monkeypatch):
    """A Blender process that runs a script instead."""

    def made(script):
        (tmp_path / "script.py").write_text(script)
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "script.py"} "$@"\n')
        python.chmod(0o755)
        monkeypatch.setattr("render.farm.process.sys.executable", str(python))
        return BlenderProcess(tmp_path / "logs" / "blender.log")

    return made


def test_a_process_that_does_not_start_blames_no_job(blender):
    with blender("raise RuntimeError('no place for a cache')") as process:
        with pytest.raises(BlenderUnusableError, match=r"exit code 1.*'start'.*no place for a cache"):
            list(process.run({"do": "render"}))
        assert process.pid is None


def test_a_process_that_is_killed_while_it_starts_is_lost(blender):
    with blender("import os; os.kill(os.getpid(), 9)") as process, pytest.raises(BlenderCrashError) as caught:
        list(process.run({"do": "render"}))
    assert caught.value.lost and caught.value.code == -9


@pytest.mark.parametrize(
    ("how", "code", "lost"),
    [
        ("os.kill(os.getpid(), 9)", -9, True),
        ("os.kill(os.getpid(), 15)", -15, True),
        ("os.kill(os.getpid(), 7)", -7, True),
        ("os.kill(os.getpid(), 11)", -11, False),
        ("raise MemoryError", 1, True),
        ("raise ValueError('a bug')", 1, False),
    ],
)
def test_a_process_that_was_killed_or_had_no_memory_is_told_from_one_that_failed(blender, how, code, lost):
    with blender(READY + how) as process, pytest.raises(BlenderCrashError) as caught:
        list(process.run({"do": "render"}))
    assert (caught.value.code, caught.value.lost) == (code, lost)


@pytest.fixture
def little_memory():
    """A group of processes (cgroup, version 1 or 2) that may use 100 MiB, by the file that takes their numbers."""
    old = Path("/sys/fs/cgroup/memory")
    group = (old if old.is_dir() else old.parent) / f"vosforge-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("this machine permits no groups of processes")
    try:
        limit = "memory.limit_in_bytes" if old.is_dir() else "memory.max"
        if not (group / limit).exists():
            pytest.skip("this machine permits no limits of memory")
        (group / limit).write_text(str(100 * 2**20))
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def test_a_process_that_the_kernel_kills_for_its_memory_has_no_memory(blender, little_memory):
    script = f"open('{little_memory}', 'w').write(str(os.getpid())); bytearray(400 * 2**20)"
    with blender(READY + script) as process, pytest.raises(BlenderCrashError) as caught:
        list(process.run({"do": "render"}))
    assert (caught.value.code, caught.value.trouble) == (-signal.SIGKILL, "out of memory")


def test_a_job_that_reaches_nobody_is_a_crash(blender):
    with blender(READY + "owner.send(Done(1)); os._exit(0)") as process:
        assert list(process.run({"do": "render"})) == [Done(1)]
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, which its owner has not noticed
        with pytest.raises(BlenderCrashError):
            list(process.run({"do": "render"}))


def test_a_hung_process_is_lost(blender, monkeypatch):
    with blender(READY + "owner.send(Frames()); owner.recv()") as process:
        events = process.run({"do": "render"})
        next(events)
        monkeypatch.setattr("render.farm.process.FIRST_SILENCE", 0.2)
        with pytest.raises(BlenderCrashError, match="said nothing") as caught:
            next(events)
    assert caught.value.lost and caught.value.trouble == "hang"


def test_what_counts_as_hung_follows_what_the_same_took_before(blender, monkeypatch):
    monkeypatch.setattr("render.farm.process.MIN_SILENCE", 0.5)
    script = "import time\nfor seconds in (0.3, 0.3, 1.2): time.sleep(seconds); owner.send(Frames())\nowner.recv()"
    with blender(READY + script) as process:
        events = process.run({"do": "render"})
        assert [next(events) for _ in range(3)] == [Frames()] * 3, "1.2 s are less than five times 0.3 s"
        process._longest["a frame"] = 0.01
        with pytest.raises(BlenderCrashError, match="said nothing for 0 s during 'a frame'"):
            next(events)


@pytest.mark.parametrize(
    ("trouble", "kind"), [("storage", MachineError), ("missing asset", MachineError), ("content", VOSForgeError)]
)
def test_what_the_worker_tells_of_the_machine_is_of_a_kind_of_its_own(blender, trouble, kind):
    process = blender(READY + f"owner.send(Failed('{trouble}', 'no room')); owner.recv()")
    with process, pytest.raises(VOSForgeError, match="no room") as caught:
        list(process.run({"do": "render"}))
    assert type(caught.value) is kind


def test_a_log_that_cannot_be_written_is_the_machines(blender, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with blender("") as process:
        monkeypatch.setattr("pathlib.Path.open", refuse)
        with pytest.raises(MachineError, match=r"cannot write to .*logs \(No space left"):
            list(process.run({"do": "render"}))


def test_a_process_that_cannot_be_begun_is_the_machines(blender, monkeypatch):
    def refuse(*_, **__):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with blender("") as process:
        monkeypatch.setattr("render.farm.process.subprocess.Popen", refuse)
        with pytest.raises(MachineError, match="cannot start a Blender process"):
            list(process.run({"do": "render"}))


def test_a_process_that_waited_for_a_core_is_slow_and_not_hung(blender, monkeypatch):
    monkeypatch.setattr("render.farm.process.MIN_SILENCE", 0.2)
    waits = itertools.chain([0.0], itertools.count(1.5, 1.5))  # at each look it has waited 1.5 s more
    with blender(READY + "import time; time.sleep(3); owner.send(Done(1)); owner.recv(); owner.recv()") as process:
        monkeypatch.setattr(process, "_queued", lambda: next(waits))
        process._longest["render"] = 0.01
        assert list(process.run({"do": "render"})) == [Done(1)]
        monkeypatch.setattr(process, "_queued", lambda: 0.0)
        with pytest.raises(BlenderCrashError, match="said nothing"):
            list(process.run({"do": "render"}))


def test_what_an_earlier_process_said_is_not_held_against_a_later_one(blender):
    script = READY + "import pathlib; told = pathlib.Path(__file__).with_name('told')\n"
    script += "if told.exists(): os.kill(os.getpid(), 11)\ntold.touch(); raise MemoryError"
    with blender(script) as process:
        for expected in ("out of memory", "crash"):
            with pytest.raises(BlenderCrashError) as caught:
                list(process.run({"do": "render"}))
            assert caught.value.trouble == expected


def test_of_a_long_log_the_last_lines_are_told(blender):
    """They are looked for in its last bytes, which may begin within a character."""
    with (
        blender(READY + "print('é' * 40_000, flush=True); raise OSError('3')") as process,
        pytest.raises(BlenderCrashError, match=r"ends: .*OSError: 3$"),
    ):
        list(process.run({"do": "render"}))
