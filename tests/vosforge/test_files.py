from functools import partial
from pathlib import Path

import pytest

from tests.kills import calls, killed_before_call, killed_in_a_write
from vosforge import InputError
from vosforge.files import check_folder, remove_unfinished, sealed_file, sealed_folder, write_sealed
from vosforge.trouble import attempting


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_sealed(path, "old")

    def fail():
        with sealed_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_leaves_only_whole_files(tmp_path):
    path, old, new = tmp_path / "a.bin", b"old" * 1000, bytes(range(250)) * 8000
    unfinished, left = 0, set()

    def check():
        nonlocal unfinished
        unfinished += len(list(tmp_path.iterdir())) > 1
        remove_unfinished(tmp_path)
        assert list(tmp_path.iterdir()) == [path]
        left.add(path.read_bytes())

    write = partial(write_sealed, path, new)
    every_second = range(0, calls(write), 2)
    for kill, instants in ((killed_before_call, every_second), (killed_in_a_write, (0, 1, 10**6, len(new) - 1))):
        for instant in instants:
            path.write_bytes(old)
            assert kill(instant, write)
            check()
    assert unfinished and left == {old, new}


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "a/b"):
        with sealed_folder(tmp_path / name) as folder:
            (folder / "file").write_text("content")
            assert not (tmp_path / name / "file").exists()
        assert (tmp_path / name / "file").read_text() == "content"
    with pytest.raises(KeyboardInterrupt), sealed_folder(tmp_path / "failed") as folder:
        (folder / "file").write_text("content")
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty", "new"]


@pytest.mark.parametrize("name", ["afile", "afile/inside", "afile/inside/deeper"])
def test_a_file_is_no_place_for_a_folder(tmp_path, name):
    (tmp_path / "afile").write_text("")
    with pytest.raises(InputError, match="afile is a file"):
        check_folder(tmp_path / name)
    with pytest.raises(InputError, match="cannot write to"), attempting(f"write to {tmp_path / name}"):
        write_sealed(tmp_path / name / "text", "")


def test_a_folder_that_can_be_made_is_a_place_and_is_not_made(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "a/b/c")
    assert not list(tmp_path.iterdir())


def test_a_url_is_no_place_for_a_folder():
    with pytest.raises(InputError, match="is a URL"):
        check_folder(Path("s3://bucket/data"))


def test_a_full_disk_is_told_of_the_file_that_was_to_be(tmp_path):
    def write():
        with sealed_file(tmp_path / "a.txt"), Path("/dev/full").open("w") as full:
            full.write("x" * 10**6)

    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"):
        write()
    assert not list(tmp_path.iterdir())
