"""Pairs of renders of one draw, with and without a module: what differs is what it claims, and masks stay exact."""

import itertools

import numpy as np
import pytest

from blender_scenes.modules import Modules
from blender_scenes.modules.light import Light
from blender_scenes.sample import PRESETS, sample_scene
from blender_scenes.spec import RenderSettings
from render.farm.events import Done
from render.farm.process import BlenderProcess
from render.qualities import QUALITIES
from tests.render.blender.test_engine import job
from tests.render.raycast import cast_mask, undecided
from vosforge.videos import ShardSet

pytestmark = pytest.mark.blender

SETTINGS = RenderSettings(width=96, height=64, frames=2, **QUALITIES["fast"])
OTHER_LIGHT = {"sun": 0.0, "panels": 0.0, "colored": 0.0, "night": 0.0}


@pytest.fixture(scope="module")
def blender(tmp_path_factory):
    with BlenderProcess(tmp_path_factory.mktemp("log") / "blender.log") as process:
        yield process


@pytest.fixture
def show(blender, store, catalog, tmp_path):
    """Renders scene ``index`` of ``diverse`` with these modules only: its spec, frames and masks."""

    def show(index, **modules):
        config = PRESETS["diverse"].model_copy(update={"modules": Modules(**modules), "objects": (3, 3)})
        spec = sample_scene(config, SETTINGS, catalog, seed=2, index=index, split="train")
        events = list(blender.run(job(spec, store, catalog, tmp_path) | {"gates": False}))
        assert isinstance(events[-1], Done), events[-1]
        video = ShardSet(tmp_path / f"{spec.video_id}.h5").video(spec.video_id)
        return spec, video.frames().astype(float), video.masks()

    return show


def check_masks(spec, store, masks):
    for t, mask in enumerate(masks):
        different = mask != cast_mask(spec, store, t)
        assert different.sum() <= 2 and (not different.any() or undecided(spec, store, t, mask)[different].all())


def chroma(frames, masks):
    """How coloured what shows objects is, 0 to 1."""
    pixels = frames[masks > 0]
    return float((np.ptp(pixels, axis=1) / np.maximum(pixels.max(axis=1), 1)).mean())


@pytest.mark.parametrize("index", [0, 3])
def test_light(show, store, index):
    _, off, masks = show(index)
    shown = {}
    for kind in OTHER_LIGHT:
        spec, shown[kind], lit = show(index, light=Light(**OTHER_LIGHT | {kind: 1.0}))
        assert np.array_equal(lit, masks), "labels do not depend on light"
    check_masks(spec, store, masks)
    assert shown["night"].mean() < 0.4 * off.mean()
    assert chroma(shown["colored"], masks) > chroma(shown["panels"], masks) + 0.02
    means = [frames[masks > 0].mean(axis=0) for frames in (off, *shown.values())]
    for one, other in itertools.pairwise(means):
        assert np.abs(one - other).max() > 3
