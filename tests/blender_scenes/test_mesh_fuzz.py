"""Meshes of random features look prepared as their files look in Blender."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.blender_scenes.mesh_fuzz import EDGE_SHARE, MIN_SEEN

ROOT = Path(__file__).parents[2]
SEED = 2026


@pytest.mark.parametrize("count", [24, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.blender
@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed")
def test_meshes_of_any_features_look_as_in_blender(tmp_path: Path, count: int) -> None:
    command = [sys.executable, "-m", "tests.blender_scenes.mesh_fuzz", str(tmp_path), str(count), str(SEED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:].decode(errors="replace")
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report) == count
    assert sum(each["seen"] >= MIN_SEEN for each in report) > 0.8 * count, "they hardly show"
    assert [each for each in report if each["bad"] > EDGE_SHARE] == []
