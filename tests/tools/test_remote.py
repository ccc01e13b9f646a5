"""What reads a data set reads it behind a URL too."""

from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.s3 import upload
from tests.tools.painted import painted_dataset
from tools.cli import app
from tools.inspect.verification import verify_path
from tools.inspect.view import open_video
from vosforge.errors import InputError
from vosforge.videos import ShardSet, place


@pytest.fixture
def data(tmp_path) -> Path:
    return painted_dataset(tmp_path / "data").root


@pytest.fixture
def remote(data, bucket, cache, request) -> str:
    url = f"{bucket}/{request.node.name}"
    upload(data, url)
    return url


def run(*words) -> SimpleNamespace:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return SimpleNamespace(error=result.exception, out=result.stdout)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_export_view_and_stats_give_what_they_give_locally(data, remote, tmp_path):
    found = {}
    for name, where in {"local": data, "remote": remote}.items():
        out = tmp_path / name
        assert run("export", where, out / "davis", "-f", "davis").error is None
        assert run("view", f"{where}:000002", "--out", out).error is None
        found[name] = content(out)
        card = run("stats", where, "--out", out / "card")
        assert card.error is None and "DATASET_CARD.md" in card.out
    assert found["local"] == found["remote"] and len(found["local"]) > 20
    assert "000004" in (tmp_path / "remote" / "card" / "DATASET_CARD.md").read_text()


def test_stats_of_a_remote_data_set_write_no_card_unless_told_where(remote, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*.md"))
    assert run("stats", remote).error is None
    assert set(tmp_path.rglob("*.md")) == before


def test_verify_reads_every_byte_of_a_remote_data_set(data, remote):
    store, path = fsspec.url_to_fs(remote)
    found = verify_path(place(remote), workers=2)
    assert found.passed and found.summary() == f"{remote}: 6 good videos with 18 frames, 1 quarantined"
    shard = bytearray((data / "shards" / "shard-00001.h5").read_bytes())
    encoded = ShardSet(data).video("000003").encoded(1)
    shard[shard.index(encoded) + len(encoded) // 2] ^= 1
    store.pipe(f"{path}/shards/shard-00001.h5", bytes(shard))
    store.rm(f"{path}/shards/shard-00002.h5")
    bad = verify_path(place(remote), workers=2)
    assert [line.split(": ")[:3] for line in bad.lines()] == [
        ["000003", "shards/shard-00001.h5", "'rgb/data' is damaged"],
        ["000006", "manifest.jsonl", "it is in the manifest but in no shard"],
    ]
    assert all(line.endswith("copy it again from an intact source") for line in bad.lines())


def test_of_a_remote_data_set_only_one_that_can_be_rendered_is_repaired(remote):
    with pytest.raises(InputError, match=r"has no dataset\.yaml to render from"):
        verify_path(place(remote), repair=True)


@pytest.mark.parametrize("command", ["stats", "verify", "view", "export", "train"])
def test_what_is_not_there_is_one_sentence(command, bucket, cache, tmp_path):
    words = [tmp_path / "out"] if command in ("export", "train") else []
    layout = ["-f", "davis"] if command == "export" else []
    error = run(command, f"{bucket}/nowhere", *words, *layout).error
    assert isinstance(error, InputError) and f"{bucket}/nowhere" in str(error) and "\n" not in str(error)
    assert not (tmp_path / "out").exists()


def test_a_video_is_named_after_the_url(data, remote):
    video = open_video(f"{remote}:000005")
    np.testing.assert_array_equal(video.masks(), ShardSet(data).video("000005").masks())
    assert open_video(remote).id == "000000"
    assert open_video(f"{remote}/shards/shard-00001.h5:000005").id == "000005"
    with pytest.raises(InputError, match="no video 'nope'"):
        open_video(f"{remote}:nope")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:1/data/manifest\.jsonl cannot be read"):
        open_video("http://127.0.0.1:1/data:000000")
