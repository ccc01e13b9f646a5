"""Renders of scenes of ``diverse`` with some of its modules only; what was rendered once is not rendered again."""

import pytest

from blender_scenes.making import with_meshes
from blender_scenes.modules import Modules
from blender_scenes.sample import PRESETS, sample_scene
from blender_scenes.spec import RenderSettings, SceneSpec
from render.farm.events import Done
from render.farm.process import BlenderProcess
from render.qualities import QUALITIES
from tests.render.blender.test_engine import job
from vosforge.videos import ShardSet


@pytest.fixture(scope="session")
def rendered_with(store, catalog, tmp_path_factory):
    """Renders scene ``index`` with these modules: its spec, its meshes in the store, and the video."""
    folder = tmp_path_factory.mktemp("modules")
    kept = {}
    with BlenderProcess(folder / "blender.log") as blender:

        def render(index, quality="fast", frames=2, passes=(), change=None, assets=catalog, **modules):
            settings = RenderSettings(width=96, height=64, frames=frames, **QUALITIES[quality], passes=passes)
            config = PRESETS["diverse"].model_copy(update={"modules": Modules(**modules), "objects": (3, 3)})
            spec = sample_scene(config, settings, assets, seed=2, index=index, split="train")
            spec = change(spec) if change else spec
            key = spec.model_dump_json()
            if key not in kept:
                its_own = folder / str(len(kept))
                events = list(blender.run(job(spec, store, assets, its_own) | {"gates": False}))
                assert isinstance(events[-1], Done), events[-1]
                video = ShardSet(its_own / f"{spec.video_id}.h5").video(spec.video_id)
                kept[key] = with_meshes(SceneSpec.model_validate_json(video.spec_json), store), video
            return kept[key]

        yield render


@pytest.fixture
def show(rendered_with):
    """Renders a scene: its spec, frames and masks; with ``passes``, its spec, masks and these."""

    def show(index, passes=(), **settings):
        spec, video = rendered_with(index, passes=passes, **settings)
        if passes:
            return spec, video.masks(), *(video.group[name][()] for name in passes)
        return spec, video.frames().astype(float), video.masks()

    return show


@pytest.fixture
def label(rendered_with):
    """Renders a scene's labels: its spec, masks, and the visible share of each object's amodal mask ``[T, K]``."""

    def label(index, frames=2, **modules):
        spec, video = rendered_with(index, "labels", frames, passes=("amodal",), **modules)
        return spec, video.masks(), video.group["objects/visibility"][()].astype(float)

    return label
