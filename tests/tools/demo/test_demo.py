"""The whole loop in miniature, with a real Blender, a real Ray and real training steps."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from mivos_models.networks import shipped
from tools.commands.training import train_networks
from tools.demo.demo import DemoConfig, check_disjoint, run_demo
from vosforge import InputError, VOSForgeError
from vosforge.config import read_config
from vosforge.videos import ShardSet

pytestmark = [pytest.mark.blender, pytest.mark.ray]

TINY = {
    "rounds": 2,
    "dataset": {
        "seed": 3,
        "videos": 5,
        "held_out_every": 5,
        "videos_per_shard": 3,
        "held_out_assets": 0.3,
        "assets": {"num_meshes": 12, "num_textures": 6},
        "scene": {"objects": [2, 2]},
        "render": {"width": 128, "height": 96, "frames": 5, "samples": 1, "denoise": False},
    },
    "training": {
        "s2m": {"iterations": 2, "batch": 2, "augmentation": {"geometry": {"crop": 64, "short_side": 96}}},
        "propagation": {"iterations": 2, "batch": 1, "stages": [], "augmentation": {"geometry": {"crop": 64}}},
        "fusion": {"iterations": 2, "batch": 1, "short_side": 96, "augmentation": {"geometry": {"crop": 64}}},
    },
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    environment = {**os.environ, "VOSFORGE_CACHE": str(folder / "cache"), "COLUMNS": "160"}

    def run(*words):
        command = [sys.executable, "-m", "tools.cli", "demo", "--config", "tiny.yaml", "--out", "run", *words]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
        )

    return folder / "run", run, run()


def test_untrained_networks_fail_the_demo_and_the_report_says_so(demo):
    root, _, first = demo
    assert first.returncode == 1, first.stderr
    assert "the demo failed" in first.stderr
    assert "failed  Training adds at least 10" in first.stdout
    assert "passed  No frame is black" in first.stdout
    page = (root / "report.html").read_text()
    assert "000004" in page
    for kind in ("s2m", "propagation", "fusion"):
        assert (root / "networks" / f"{kind}.pth").exists()
        lines = (root / "networks" / f"{kind}.jsonl").read_text().splitlines()
        assert len(lines) == 2
        assert {"j", "f", "jf"} == json.loads(lines[-1])["validation"].keys()  # of the held-out videos
        assert (root / "networks" / f"{kind}.validation.jpg").exists()
    assert (root / "networks/training.html").read_text().count("<section") == 3


def test_a_second_run_reuses_everything_and_says_so(demo):
    root, run, first = demo
    kept = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.suffix in (".h5", ".pth", ".npz")}
    assert kept
    second = run()
    assert second.returncode == first.returncode
    assert second.stdout.count("reusing") == 6  # catalog, videos, three networks, results
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_the_shipped_networks_are_shown_beside_the_demos_or_skipped_in_a_line(demo, monkeypatch, capsys):
    root, _, _ = demo
    monkeypatch.setenv("VOSFORGE_CACHE", str(root.parent / "cache"))
    config = read_config(DemoConfig, root.parent / "tiny.yaml", base=DemoConfig())
    monkeypatch.setattr(shipped, "_FOLDER", root / "nowhere")
    page, verdict = run_demo(config, root)
    assert "there are no shipped networks here, skipping them" in " ".join(capsys.readouterr().out.split())
    assert "000004, shipped networks" not in page.read_text()
    monkeypatch.setattr(shipped, "_FOLDER", root / "networks")
    page, beside = run_demo(config, root)
    assert "000004, shipped networks" in page.read_text()
    shown, [own] = (list((root / "results").glob(f"000004-{state}-*.npz")) for state in ("shipped", "trained"))
    with np.load(own) as file:
        masks = file["masks"]
    # Another result may be of the networks that ship; a near tie may turn with the number of threads.
    assert max(np.mean(np.load(path)["masks"] == masks) for path in shown) > 0.999
    assert beside == verdict


def test_fusion_is_trained_again_when_the_propagation_network_it_learns_from_changes(demo, tmp_path):
    root, _, _ = demo
    networks = tmp_path / "networks"
    shutil.copytree(root / "networks", networks)
    recipe = read_config(DemoConfig, root.parent / "tiny.yaml", base=DemoConfig()).training
    assert train_networks([str(root / "data")], recipe, networks, ["fusion"]) == {"fusion": True}
    shutil.copy(networks / "propagation_init.pth", networks / "propagation.pth")
    assert train_networks([str(root / "data")], recipe, networks, ["fusion"]) == {"fusion": False}


def test_other_scenes_in_the_same_folder_are_refused(demo):
    _, run, _ = demo
    other = run("--set", "dataset.assets.num_meshes=13")
    assert other.returncode == 2
    assert "assets.num_meshes = 12, not 13" in other.stderr


def test_shared_assets_are_found(demo):
    root, _, _ = demo
    shards = ShardSet(root / "data")
    check_disjoint(shards)
    shards.videos = tuple(
        row.model_copy(update={"split": "val" if row.id == "000000" else row.split}) for row in shards.videos
    )
    with pytest.raises(VOSForgeError, match="share assets"):
        check_disjoint(shards)


def test_the_python_of_the_documentation_runs_on_the_demos_files(demo, tmp_path, monkeypatch):
    root, _, _ = demo
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(root, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "_FOLDER", root / "networks")
    page = (Path(__file__).parents[3] / "docs" / "python.md").read_text()
    shard, loop, runner = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    video = ShardSet(root / "data").video("000001")
    names = {}
    exec(shard, names)
    assert np.array_equal(names["frame"], video.frame(2)) and np.array_equal(names["mask"], video.mask(2))
    names = {}
    exec(loop, names)
    assert len(names["batches"]) == names["clips"].settings.iterations - 1000 and names["clips"].videos
    scribbles = np.full(video.mask(0).shape, -1, np.int16)
    scribbles[40:50, 40:50], scribbles[5:9, 60:90] = 1, 2
    names = {"frames": video.frames(), "scribbles": scribbles}
    exec(runner, names)
    assert names["masks"].shape == video.masks().shape and names["masks"].dtype == np.uint8


def test_a_demo_without_colours_is_refused_before_any_work(tmp_path):
    config = read_config(DemoConfig, None, {"dataset.render.colors": False})
    with pytest.raises(InputError, match="the demo trains on colours"):
        run_demo(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
