"""The built wheel works outside the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building inside the checkout would leave, and next time reuse, a build folder
    unwanted = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=unwanted)
    (source / "mivos_models/weights").mkdir(exist_ok=True)
    (source / "mivos_models/weights/probe.pth").touch()
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, cwd=folder)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed, code, tmp_path):
    # -P and the working directory keep the checkout out; what is imported must be the wheel's.
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_every_folder_and_its_data(installed):
    names = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    for source in ("tools/demo/report.html.jinja", "tools/cli.py", "vosforge/videos/writer.py", "train/s2m.py"):
        assert source in names
    assert "mivos_models/weights/probe.pth" in names  # where `shipped_networks` looks
    assert not any(name.startswith("tests/") for name in names)


def test_the_command_line_and_the_shards_run_from_it(installed, tmp_path):
    code = (
        "import vosforge.videos, tools.demo.report, mivos_models, sys\n"
        "from tools.cli import main\n"
        "modules = (vosforge.videos, tools.demo.report, mivos_models)\n"
        f"assert all(m.__file__.startswith({str(installed)!r}) for m in modules)\n"
        "sys.argv = ['vosforge', '--version']\n"
        "main()\n"
    )
    assert run(installed, code, tmp_path).startswith("vosforge ")


def test_training_and_segmenting_need_neither_blender_nor_ray(installed, tmp_path):
    code = (
        "import sys\n"
        "sys.modules['bpy'] = sys.modules['ray'] = None\n"
        "import train.propagation, train.s2m, train.fusion, train.evaluation.interactive\n"
        "import mivos_models, vosforge.videos\n"
        "import blender_scenes.sample, assets.procedural, render.farm.jobs, tools.demo.report, tools.inspect.view\n"
    )
    run(installed, code, tmp_path)
