import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vosforge import locks
from vosforge.errors import InputError, MachineError
from vosforge.locks import BusyError, in_turn, one_writer

UNSUPPORTED = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(locks, "SETTLE_SECONDS", 0.01)


def refuse_locks(monkeypatch, number=errno.ENOLCK):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_held_lock_is_another_process(tmp_path):
    with one_writer(tmp_path, "rendering into"):
        with (
            pytest.raises(InputError, match="another process is rendering into"),
            one_writer(tmp_path, "rendering into"),
        ):
            pass
        assert not (tmp_path / ".lease").exists()


@pytest.mark.parametrize("number", UNSUPPORTED)
def test_without_locks_a_lease_keeps_others_out_and_ends(tmp_path, monkeypatch, number):
    refuse_locks(monkeypatch, number)
    with one_writer(tmp_path, "rendering into"):
        with pytest.raises(InputError, match=f"process {os.getpid()} on"), one_writer(tmp_path, "rendering into"):
            pass
        assert json.loads((tmp_path / ".lease").read_text())["pid"] == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_any_other_failure_of_a_lock_is_the_machines(tmp_path, monkeypatch):
    refuse_locks(monkeypatch, errno.EIO)
    with pytest.raises(MachineError, match="Input/output error"), one_writer(tmp_path, "rendering into"):
        pass


def test_a_lease_of_another_host_is_taken_over_when_it_is_stale(tmp_path, monkeypatch):
    refuse_locks(monkeypatch)
    lease = tmp_path / ".lease"
    lease.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    with pytest.raises(InputError, match="process 1 on elsewhere"), one_writer(tmp_path, "rendering into"):
        pass
    before = time.time() - locks.STALE_SECONDS - 5
    os.utime(lease, (before, before))
    with one_writer(tmp_path, "rendering into"):
        assert json.loads(lease.read_text())["pid"] == os.getpid()


def test_a_lease_of_a_process_that_died_here_is_taken_over_at_once(tmp_path, monkeypatch):
    code = (
        "import errno, fcntl, os, sys, pathlib\n"
        "def flock(*_): raise OSError(errno.ENOLCK, 'no locks')\n"
        "fcntl.flock = flock\n"
        "from vosforge.locks import one_writer\n"
        "with one_writer(pathlib.Path(sys.argv[1]), 'rendering into'): os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    assert (tmp_path / ".lease").exists()
    refuse_locks(monkeypatch)
    with one_writer(tmp_path, "rendering into"):
        pass


def test_a_lease_is_kept_alive(tmp_path, monkeypatch):
    refuse_locks(monkeypatch)
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    touch, touched, old = os.utime, threading.Event(), []

    def utime(path, *times):
        touch(path, *times)
        if not times and old:
            touched.set()

    monkeypatch.setattr(os, "utime", utime)
    with one_writer(tmp_path, "rendering into"):
        os.utime(tmp_path / ".lease", (0, 0))
        old.append(tmp_path / ".lease")
        assert touched.wait(60)
        assert (tmp_path / ".lease").stat().st_mtime > 0


def test_a_damaged_lease_is_taken_over(tmp_path, monkeypatch):
    refuse_locks(monkeypatch)
    (tmp_path / ".lease").write_text("half")
    with one_writer(tmp_path, "rendering into"):
        pass


@pytest.mark.parametrize("locks_work", [True, False])
@pytest.mark.parametrize(("first", "second"), [("", "a1"), ("a1", ""), ("a1", "b1"), ("b1", "a1")])
def test_rivals_exclude_each_other_and_others_do_not(tmp_path, monkeypatch, locks_work, first, second):
    if not locks_work:
        refuse_locks(monkeypatch)

    def claim(name):
        return one_writer(tmp_path, "writing to", name, lambda other: other[:1] != name[:1])

    with claim("a2"), claim("a1"):
        pass
    with claim(first):
        with pytest.raises(BusyError, match="another process is writing to"), claim(second):
            pass
        with pytest.raises(BusyError), claim(first):
            pass
    with claim(second):
        pass


def test_a_lease_that_ends_while_another_process_reads_it_is_free(tmp_path, monkeypatch):
    refuse_locks(monkeypatch)
    read, ends = locks._held, [True]

    def held(path):
        holder = read(path)
        if holder is not None and ends:
            ends.pop()
            path.unlink()
        return holder

    (tmp_path / ".lease").write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    monkeypatch.setattr(locks, "_held", held)
    with one_writer(tmp_path, "rendering into"):
        assert not ends


@pytest.mark.parametrize("error", [PermissionError(errno.EPERM, "no links"), OSError(errno.ENOTSUP, "no links")])
def test_a_lease_needs_no_hard_links(tmp_path, monkeypatch, error):
    refuse_locks(monkeypatch)

    def link(*_):
        raise error

    monkeypatch.setattr(os, "link", link)
    with one_writer(tmp_path, "rendering into"):
        assert json.loads((tmp_path / ".lease").read_text())["pid"] == os.getpid()
        with pytest.raises(BusyError), one_writer(tmp_path, "rendering into"):
            pass
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_of_two_that_find_no_lease_one_gets_it(tmp_path, monkeypatch):
    refuse_locks(monkeypatch)
    read, entered = locks._held, []

    def held(path):
        holder = read(path)
        if not entered:  # before this process goes on, another one comes and stays
            entered.append(one_writer(tmp_path, "rendering into"))
            entered[0].__enter__()
        return holder

    monkeypatch.setattr(locks, "_held", held)
    with pytest.raises(BusyError, match="another process is rendering into"), one_writer(tmp_path, "rendering into"):
        pass
    entered[0].__exit__(None, None, None)
    with one_writer(tmp_path, "rendering into"):
        pass


@pytest.mark.parametrize("locks_work", [True, False])
def test_processes_take_turns(tmp_path, monkeypatch, locks_work):
    if not locks_work:
        refuse_locks(monkeypatch)
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.01)
    inside, most = [], []

    def work(number):
        with in_turn(tmp_path, "starting", "start"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12), timeout=60))
    assert most == [1] * 12
