import subprocess
import sys

import pytest

from vosforge import compiled

ADD = """
import vosforge.compiled as here
from vosforge.compiled import compiled
from render.light.raster import NOTHING
import vosforge.videos.jpeg
print(here.numba.config.CACHE_DIR, vosforge.videos.jpeg.bit_length(5))
"""


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("VOSFORGE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_cache_is_ours_unless_the_user_named_one(places, monkeypatch):
    assert compiled.cache_folder() == places / "cache" / "numba"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(places / "mine"))
    assert compiled.cache_folder() == places / "mine"


def test_where_nothing_can_be_written_there_is_no_cache(places, monkeypatch):
    (places / "cache").write_text("a file, so that no folder can be made here")
    assert compiled.cache_folder() is None
    done = subprocess.run([sys.executable, "-c", ADD], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_disk_without_room_has_no_cache(places, monkeypatch):
    monkeypatch.setattr(compiled, "NEEDED_BYTES", 2**60)
    assert compiled.cache_folder() is None


def test_numba_is_told_before_it_is_imported(places):
    done = subprocess.run([sys.executable, "-c", ADD], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == [str(places / "cache" / "numba"), "3"]
