import os

import pytest

from vosforge import InputError
from vosforge.processes import LONGEST_FOLDER
from vosforge.ray_local import lend_token, ray_folder


@pytest.fixture
def tmpdir_of(monkeypatch):
    def choose(folder):
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr("tempfile.tempdir", None)
        monkeypatch.delenv("RAY_TMPDIR", raising=False)

    return choose


def test_a_long_tmpdir_is_not_where_ray_puts_its_sockets(tmp_path, tmpdir_of):
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    tmpdir_of(folder)
    assert len(str(ray_folder().parent)) <= LONGEST_FOLDER
    # What Ray 2.60 calls the longest one: a session's date, microseconds and process.
    socket = ray_folder() / "session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
    assert len(os.fsencode(socket)) < 108


def test_a_short_tmpdir_is(tmpdir_of):
    tmpdir_of("/dev/shm")
    assert str(ray_folder()) == "/dev/shm/ray"


def test_without_a_short_folder_there_is_a_sentence(tmp_path, tmpdir_of, monkeypatch):
    tmpdir_of(tmp_path)
    monkeypatch.setattr("vosforge.processes.LONGEST_FOLDER", 1)
    with pytest.raises(InputError, match="set TMPDIR to one"):
        ray_folder()


@pytest.mark.parametrize(("writable", "lent"), [(True, False), (False, True)])
def test_a_token_is_lent_where_the_home_cannot_keep_one(tmp_path, monkeypatch, writable, lent):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setattr("os.access", lambda *_: writable)
    lend_token()
    assert ("RAY_AUTH_TOKEN" in os.environ) == lent
