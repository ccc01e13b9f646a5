"""Which folders are rendered into, and with which settings; one process of several prepares a new one."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from assets.store import AssetStore
from render.farm.jobs import Dataset, begun_with
from render.farm.ledger import PREPARING
from tests.tools.painted import CONFIG, painted_catalog
from tools.commands.rendering import open_dataset
from vosforge import InputError
from vosforge.locks import in_turn

LABELLED = CONFIG.model_copy(update={"scene": CONFIG.scene.model_copy(update={"preset": "mine"})})


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Open a data set, with a catalog of names alone where it is new."""
    monkeypatch.setattr("tools.commands.rendering.build_catalog", lambda *_: painted_catalog())
    return lambda root, config=CONFIG: open_dataset(root, config, AssetStore(tmp_path / "store"))


def test_an_unknown_preset_is_refused_for_new_scenes_only(tmp_path, opened):
    with pytest.raises(InputError, match="unknown preset 'mine'; known: basic, bl30k"):
        opened(tmp_path / "new", LABELLED)
    Dataset(tmp_path / "stored", LABELLED, painted_catalog())
    assert begun_with(tmp_path / "stored") == LABELLED
    assert opened(tmp_path / "stored", LABELLED).config == LABELLED


@pytest.mark.parametrize(
    "files", [["a.txt"], ["dataset.yaml"], ["JPEGImages/a/00000.jpg"], ["shards/shard-00000.h5", "catalog.jsonl"]]
)
def test_a_folder_of_other_things_is_refused_and_left_as_it_is(tmp_path, opened, files):
    root = tmp_path / "data"
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    before = sorted(root.rglob("*"))
    with pytest.raises(InputError, match="holds other files"):
        opened(root)
    assert sorted(root.rglob("*")) == before


def test_an_empty_folder_and_what_a_killed_run_left_are_taken(tmp_path, opened):
    for name, left in (("empty", []), ("killed", ["catalog.jsonl", ".writing-x", ".lock"])):
        (tmp_path / name).mkdir()
        for file in left:
            (tmp_path / name / file).write_text("")
        assert opened(tmp_path / name).config == CONFIG


STARTED = """
import sys, time
from pathlib import Path
from assets.store import AssetStore
from render.farm.parts import Part
from tests.tools.painted import painted_catalog
from tools.commands import rendering
from vosforge.log import set_up_logging

def build(*_):
    Path(sys.argv[1], ".notes").open("a").write("prepared ")
    time.sleep(float(sys.argv[3]))
    return painted_catalog()

set_up_logging()
rendering.build_catalog = build
overrides = dict(item.split("=") for item in sys.argv[4:])
part = rendering.open_part(Path(sys.argv[1]), None, overrides, AssetStore(), Part.parse(sys.argv[2]))
print(part.config.videos, [*part.shards()])
"""


def start(root: Path, part: str, seconds: float, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STARTED, str(root), part, str(seconds), *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def last_line(run: subprocess.Popen[str]) -> str:
    told, _ = run.communicate(timeout=120)
    assert run.returncode == 0
    return told.splitlines()[-1]


def test_of_parts_that_start_at_once_one_prepares_even_if_another_was_killed_at_it(tmp_path):
    root = tmp_path / "data"
    victim = start(root, "1/4", 600, "videos=200")
    deadline = time.monotonic() + 60
    while not (root / ".notes").exists():
        assert victim.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    parts = [start(root, f"{number}/4", 0.5, "videos=200") for number in range(1, 5)]
    time.sleep(1)
    assert not begun_with(root)
    victim.kill()
    victim.communicate()
    assert [last_line(part) for part in parts] == ["200 [0, 4]", "200 [1, 5]", "200 [2, 6]", "200 [3, 7]"]
    assert (root / ".notes").read_text() == "prepared prepared "


def test_a_part_that_waited_takes_the_settings_that_were_pinned_meanwhile(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    with in_turn(root, "preparing", PREPARING):
        waiting, other = start(root, "2/2", 0), start(root, "2/2", 0, "seed=5")
        for run in (waiting, other):
            assert "another process is preparing" in run.stdout.readline()
        Dataset(root, CONFIG.model_copy(update={"videos": 60}), painted_catalog())
    assert last_line(waiting) == f"60 {[*range(1, 20, 2)]}"
    other.communicate(timeout=60)
    assert other.returncode == 1, "its own settings are others"
