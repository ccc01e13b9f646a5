"""Which folders are rendered into, and with which settings."""

import pytest

from assets.store import AssetStore
from render.farm.jobs import Dataset, begun_with
from tests.tools.painted import CONFIG, painted_catalog
from tools.commands.rendering import open_dataset
from vosforge import InputError

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
