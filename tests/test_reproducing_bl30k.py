"""docs/reproducing-bl30k.md, command by command, on a stand-in for ShapeNet and three images."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from render.farm.jobs import DatasetConfig
from vosforge.config import read_config
from vosforge.videos import ShardSet

PAGE = (Path(__file__).parents[1] / "docs" / "reproducing-bl30k.md").read_text()
COMMANDS = re.findall(r"^    vosforge (.*)$", PAGE, re.MULTILINE)
CREDITS, SETTINGS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SMALL = {"videos": 2, "render": {"width": 96, "height": 64, "frames": 4, "samples": 1}}

pytestmark = [pytest.mark.blender, pytest.mark.ray]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    corners = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 2) for z in (0, 3))
    sides = ["f 1 2 4 3", "f 5 7 8 6", "f 1 5 6 2", "f 3 4 8 7", "f 1 3 7 5", "f 2 6 8 4"]
    for number in range(7):
        folder = tmp_path / "ShapeNetCore.v2" / ("02691156" if number < 4 else "03001627") / f"model{number}" / "models"
        folder.mkdir(parents=True)
        bent = corners.replace("v 1 2 3", f"v 1.{number} 2 3")
        (folder / "model_normalized.obj").write_text(bent + "\n".join(sides) + "\n")
    (tmp_path / "ShapeNetCore.v2" / "credits.yaml").write_text(CREDITS)
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(60, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path


def test_every_command_of_the_page_runs(library: Path) -> None:
    assert [line.split()[0] for line in COMMANDS] == ["assets", "render", "scenes", "scenes", "view"]
    (library / "bl30k.yaml").write_text(SETTINGS)
    assert read_config(DatasetConfig, library / "bl30k.yaml").videos == 30000
    (library / "bl30k.yaml").write_text(yaml.safe_dump({**yaml.safe_load(SETTINGS), **SMALL}))
    environment = {**os.environ, "VOSFORGE_CACHE": str(library / "cache")}
    for line in COMMANDS:
        words = shlex.split(line.replace("--count 6000", "--count 20"))
        done = subprocess.run(
            [sys.executable, "-m", "tools.cli", *words],
            cwd=library, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stderr}"
    videos = list(ShardSet(library / "BL30K"))
    assert [video.row.split for video in videos] == ["train", "train"]
    credits = [asset for video in videos for asset in video.attributes["credits"] if asset["kind"] == "mesh"]
    assert {asset["licence"] for asset in credits} == {"ShapeNet terms of use"}
    assert len({asset["hash"] for asset in credits}) >= 6
    assert list((library / "pictures").glob("*"))
