import os
import signal
import subprocess
import sys
import time

import pytest

from vosforge.files import remove_unfinished, sealed_file, sealed_folder, write_sealed


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
    code = (
        "import sys; from pathlib import Path; from vosforge.files import write_sealed\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1; write_sealed(Path(sys.argv[1]) / f'{n % 5}.bin', bytes([n % 251]) * 3_000_000)\n"
    )
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        deadline = time.monotonic() + 20
        while not (tmp_path / "1.bin").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.05)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        remove_unfinished(tmp_path)
        for path in tmp_path.iterdir():
            data = path.read_bytes()
            assert len(data) == 3_000_000
            assert len(set(data)) == 1


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
