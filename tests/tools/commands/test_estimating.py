"""``vosforge estimate``: what it says, and a tiny real run."""

import re

import pytest
from typer.testing import CliRunner

from render.farm.jobs import Dataset, DatasetConfig
from render.farm.layout import Resources
from tests.tools.painted import painted_catalog
from tools.cli import app
from tools.commands.estimating import estimate_lines
from vosforge import InputError

SMALL = ["--frames", "2", "--set", "render.width=64", "--set", "render.height=48", "--set", "render.samples=1"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VOSFORGE_CACHE", str(tmp_path / "cache"))


def test_a_started_data_set_is_estimated_with_its_settings_and_assets_and_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.commands.estimating.build_catalog", None)
    root = Dataset(tmp_path / "data", DatasetConfig(videos=500), painted_catalog()).root
    before = sorted(root.rglob("*"))
    lines = estimate_lines(root, None, {}, Resources(100, 2), 2, 0.1, start="benchmarks.null_child")
    said = dict(line.split(maxsplit=1) for line in lines)
    assert said["samples"].count(" s and ") == 2
    assert said["a"].startswith("worker") and said["a"].endswith("with 2 threads")
    assert said["core-hours"].endswith("for 500 videos") and said["time"].endswith("with 100 workers")
    assert re.fullmatch(r"[\d.]+ MB \([\d.]+ MB to [\d.]+ MB\)", said["disk"])
    assert re.fullmatch(r"\$[\d.]+ \(\$[\d.]+ to \$[\d.]+\)", said["cost"])
    assert sorted(root.rglob("*")) == before


def test_settings_that_render_refuses_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="holds other files"):
        list(estimate_lines(tmp_path, None, {}, Resources(), 2))
    refused = CliRunner().invoke(app, ["estimate", "--passes", "depth,depth"])
    assert isinstance(refused.exception, InputError)


@pytest.mark.blender
def test_a_tiny_data_set_is_estimated_by_rendering_some_of_it():
    words = ["--videos", "1000", "--num-meshes", "6", "--num-textures", "4", "--workers", "50", *SMALL]
    done = CliRunner().invoke(app, ["estimate", *words, "--samples", "2", "--usd-per-core-hour", "0.05"])
    assert done.exit_code == 0, done.output
    said = dict(line.split(maxsplit=1) for line in done.output.splitlines()[-7:])
    assert [*said] == ["samples", "set-up", "a", "core-hours", "disk", "time", "cost"]
    assert float(said["a"].split()[1]) > 0 and "frames/s with 1 thread" in said["a"]
