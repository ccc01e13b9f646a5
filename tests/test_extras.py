"""What needs no extra runs without them; what needs one names it."""

import subprocess
import sys
from pathlib import Path

import pytest

from render.farm.process import BlenderProcess, BlenderUnusableError
from tests.blobs import blob_video
from tests.vosforge.videos.films import flat_frames, write_film
from vosforge.videos import VideoRecord, build_manifest, pack_shard, stage_video
from vosforge.videos.codec import encode

ROOT = Path(__file__).parents[1]
OPTIONAL = ("numba", "trimesh", "manifold3d", "matplotlib", "jinja2", "bpy", "ray", "s3fs")

READ_TRAIN_SEGMENT = """
from pathlib import Path
import numpy as np
import train.s2m, train.fusion, train.evaluation.kept
import tools.cli, tools.commands.inference, tools.commands.training, tools.inspect.verification, tools.inspect.stats
import tools.inspect.view, tools.convert.importing, tools.convert.exporting
import blender_scenes.sample, render.farm.jobs
from torch.utils.data import DataLoader
from mivos_models import InteractiveRunner, load_network
from train.data.augment import Augmentation, Geometry
from train.data.clips import ShardDataset
from train.propagation import train_propagation
from train.settings import PropagationSettings
from vosforge.videos import ShardSet
from vosforge.videos.film import Film

out = Path(sys.argv[1])
shards = ShardSet(out / "data")
[video] = shards
assert video.frame(1).shape == (96, 128, 3) and video.mask(1).max() == 2
assert len(Film(out / "film.mp4").frame(2)) == 32
crop = Augmentation(geometry=Geometry(crop=64, area=(0.3, 1.0), cubic=False))
settings = PropagationSettings(iterations=1, batch=2, depth=18, width=0.125, device="cpu", augmentation=crop, workers=0)
batch = next(iter(DataLoader(ShardDataset(out / "data", settings), 2)))
assert batch.frames.shape == (2, 3, 3, 64, 64)
network = train_propagation([video], settings, out / "networks")
runner = InteractiveRunner(load_network("propagation", network), np.stack([video.frame(t) for t in range(3)]), 2)
assert runner.interact(0, video.mask(0)).shape == (3, 96, 128)
"""


def without(packages, code, *arguments):
    """What ``code`` prints in a process that has none of ``packages``."""
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({tuple(packages)!r}))\n"
    command = [sys.executable, "-c", blocked + code, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reading_training_and_segmenting_need_no_extra(tmp_path):
    video = blob_video(0)
    rgb = tuple(encode(frame, "jpeg", 95) for frame in video.frames())
    masks = video.masks()
    record = VideoRecord("000000", "train", rgb, "jpeg", masks, category=("thing",) * 2, darkest=1.0)
    stage_video(tmp_path / "data/staging/000000.h5", record)
    pack_shard(tmp_path / "data/shards", 0, [tmp_path / "data/staging/000000.h5"], {})
    build_manifest(tmp_path / "data")
    write_film(tmp_path / "film.mp4", flat_frames(3))
    without(OPTIONAL, READ_TRAIN_SEGMENT, tmp_path)


JPEG = "import numpy, vosforge.videos.codec as c; c.encode(numpy.zeros((8, 8, 3), numpy.uint8), 'jpeg', 95)"


@pytest.mark.parametrize(
    ("package", "code", "extra"),
    [
        ("numba", JPEG, "jpeg"),
        ("numba", "import render.light.raster", "jpeg"),
        ("trimesh", "import assets.procedural", "render"),
        ("manifold3d", "import assets.procedural", "render"),
        ("matplotlib", "import tools.inspect.card", "report"),
        ("matplotlib", "import tools.inspect.charts", "report"),
        ("jinja2", "import tools.demo.report", "report"),
        ("ray", "import render.farm.cluster", "cluster"),
        ("ray", "import train.cluster", "cluster"),
    ],
)
def test_a_missing_package_is_one_sentence_with_the_extra(package, code, extra):
    told = without(
        [package],
        f"from vosforge import VOSForgeError\ntry:\n    {code}\nexcept VOSForgeError as error:\n    print(error)",
    )
    assert told.casefold().count(f"need {package}") + told.casefold().count(f"needs {package}") == 1
    assert told.endswith(f": pip install 'vosforge[{extra}]'\n")


def test_a_machine_that_cannot_render_is_told_before_blender_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        BlenderProcess(tmp_path / "log") as blender,
        pytest.raises(BlenderUnusableError, match=r"bpy and numba: pip install 'vosforge\[render\]'"),
    ):
        next(blender.run({"do": "prove"}))
