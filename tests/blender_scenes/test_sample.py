import numpy as np
import pytest

from assets.catalog import Catalog
from blender_scenes.sample import SceneConfig, sample_scene
from blender_scenes.spec import RenderSettings, SceneSpec
from blender_scenes.trajectories import camera_poses, evaluate, intrinsics
from vosforge import VOSForgeError

RENDER = RenderSettings(width=384, height=256, frames=24)


def draw(catalog, index, **changes):
    arguments = {"seed": 5, "index": index, "split": "train"} | changes
    return sample_scene(SceneConfig(), RENDER, catalog, **arguments)


def test_a_video_depends_on_its_own_keys_only(paper_catalog):
    alone = draw(paper_catalog, 7)
    for index in range(7):
        draw(paper_catalog, index)
    assert draw(paper_catalog, 7) == alone
    others = [draw(paper_catalog, 8), draw(paper_catalog, 7, attempt=1), draw(paper_catalog, 7, seed=6)]
    assert all(other.objects != alone.objects for other in others)


def test_a_spec_survives_json(paper_catalog):
    spec = draw(paper_catalog, 3)
    assert SceneSpec.model_validate_json(spec.model_dump_json()) == spec


def test_scenes_stay_inside_their_settings(paper_catalog):
    config = SceneConfig()
    seen_counts = set()
    for index in range(60):
        spec = draw(paper_catalog, index)
        seen_counts.add(len(spec.objects))
        assert len({item.mesh for item in spec.objects}) == len(spec.objects)
        assert config.lights[0] <= len(spec.lights) <= config.lights[1]
        paths = [evaluate(item.location, RENDER.frames) for item in spec.objects]
        assert all(np.isfinite(path).all() for path in paths)
        for light in spec.lights:
            assert np.linalg.norm(light.location) == pytest.approx(11)
            assert max(light.color) == pytest.approx(1)
        assert not (spec.backdrop and spec.ground)
    assert seen_counts == {3, 4, 5}


def test_objects_are_in_view_half_of_the_time_and_keep_their_distance(paper_catalog):
    # A place that fits may not exist after 50 draws; nearly always it does.
    in_view, apart = [], []
    for index in range(40):
        spec = draw(paper_catalog, index)
        poses, K = camera_poses(spec.camera, RENDER.frames), intrinsics(spec.camera, RENDER.width, RENDER.height)
        paths = [evaluate(item.location, RENDER.frames) for item in spec.objects]
        for path in paths:
            seen = np.einsum("ij,tjk,tk->ti", K, poses[:, :3], np.c_[path, np.ones(len(path))])
            x, y = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
            in_view.append(((x > 0) & (x < RENDER.width) & (y > 0) & (y < RENDER.height)).mean() >= 0.5)
        apart += [np.linalg.norm(a - b, axis=1).min() >= 0.75 for n, a in enumerate(paths) for b in paths[:n]]
    assert np.mean(in_view) > 0.97
    assert np.mean(apart) > 0.97


def test_an_empty_kind_is_named(paper_catalog):
    without = Catalog(assets=paper_catalog.of_kind("mesh") + paper_catalog.of_kind("texture"))
    with pytest.raises(VOSForgeError, match="no hdri for the split 'train'"):
        draw(without, 0)
