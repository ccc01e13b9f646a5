import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from assets.catalog import Asset, Catalog
from blender_scenes.describe import DESCRIBED_QUANTILES, scene_quantities
from blender_scenes.object_spec import CurveMotion
from blender_scenes.sample import PRESETS, SceneConfig, sample_scene
from blender_scenes.spec import RenderSettings, SceneSpec
from blender_scenes.trajectories import camera_poses, evaluate, intrinsics
from tests.blender_scenes.published import quantities
from vosforge import InputError, VOSForgeError
from vosforge.config import named, read_config

DISTRIBUTION = Path(__file__).parents[3] / "shared" / "reference" / "bl30k_distribution.tsv"
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
        assert config.lights[0] <= len(spec.lights) <= config.lights[1]
        paths = [evaluate(item.motion.location, RENDER.frames) for item in spec.objects]
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
        poses, K = camera_poses(spec.camera, RENDER.frames), intrinsics(spec.camera, RENDER.width, RENDER.height, 2)[0]
        paths = [evaluate(item.motion.location, RENDER.frames) for item in spec.objects]
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


def library(meshes: int, textured: float) -> Catalog:
    """A catalog of names, a share of whose models have a texture of their own."""

    def asset(kind, number, textures=()):
        content = f"{number:031x}{['mesh', 'texture', 'hdri'].index(kind)}"
        return Asset(
            hash=content, kind=kind, name="a", category="b", source=content, licence="c", creator="d", textures=textures
        )

    own = [(f"{number:032x}",) if number < textured * meshes else () for number in range(meshes)]
    textures = [asset("texture", number) for number in range(20)]
    return Catalog.of([*(asset("mesh", number, own[number]) for number in range(meshes)), *textures, asset("hdri", 0)])


def test_every_model_is_used_before_any_is_used_again():
    catalog = library(40, 0.5)
    used: Counter[str] = Counter()
    for place in range(30):
        spec = draw(catalog, place * 7, place=place, attempt=place % 2)
        used.update(item.mesh for item in spec.objects)
        assert max(used.values()) - min(used.get(asset.hash, 0) for asset in catalog.of_kind("mesh")) <= 1
    assert used.total() == 120  # each of 3, 4 and 5 objects equally often


@pytest.mark.parametrize("count", [2000, pytest.param(6000, marks=pytest.mark.slow)])
def test_bl30k_has_the_published_generators_distribution(count):
    if not DISTRIBUTION.exists():
        pytest.skip("the published generator's distribution is not beside this checkout")
    catalog = library(1000, 0.34)
    scenes = (
        sample_scene(PRESETS["bl30k"], RenderSettings(), catalog, seed=1, index=index, split="train")
        for index in range(count)
    )
    found = scene_quantities(scenes)
    with DISTRIBUTION.open() as file:
        rows = {row["quantity"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert found.keys() == rows.keys()
    for name, row in rows.items():
        values = np.sort(found[name])
        for share in DESCRIBED_QUANTILES:
            at = float(row[f"q{round(100 * share):02d}"])
            slack = 1e-3 * abs(at)  # quantiles are given to four digits, and some quantities have steps
            below, up_to = (np.searchsorted(values, at + d, s) for d, s in ((-slack, "left"), (slack, "right")))
            assert below / len(values) - share < 0.05 and share - up_to / len(values) < 0.05, (name, share)
        assert values.mean() == pytest.approx(float(row["mean"]), abs=0.1 * values.std() + 1e-9), name


def test_bl30k_moves_as_a_plain_generator_with_the_published_constants():
    config, catalog = PRESETS["bl30k"].model_copy(update={"objects": (1, 1)}), library(1000, 0.34)
    found = scene_quantities(
        sample_scene(config, RenderSettings(), catalog, seed=2, index=index, split="train") for index in range(400)
    )
    expected = quantities(800, np.random.default_rng(0))
    assert found.keys() == expected.keys()
    apart = {name: ks_2samp(*(values[name].round(9) for values in (found, expected))).statistic for name in found}
    assert {name: share for name, share in apart.items() if share > 0.08} == {}


def test_quantities_of_a_scene_that_is_known(paper_catalog):
    spec = draw(paper_catalog, 0)
    item = spec.objects[0]
    line = item.motion.location.model_copy(update={"axes": ((0.0, 2.0), (1.0,), (0.0,))})
    turn = item.motion.rotation.model_copy(update={"axes": ((0.0, 0.5), (0.0, -0.25), (0.0,))})
    size = item.motion.scale.model_copy(update={"axes": ((1.0,), (2.0,), (4.0,))})
    motion = CurveMotion(location=line, rotation=turn, scale=size)
    moved = item.model_copy(update={"motion": motion})
    values = scene_quantities([spec.model_copy(update={"objects": (moved,)})])
    assert values["obj_path_len"] == pytest.approx([2.0])
    assert values["obj_rot_total"] == pytest.approx([0.75])
    assert values["obj_scale_anisotropy"] == pytest.approx([4.0])
    assert values["obj_lateral_absmax"] == pytest.approx([2.0])
    assert values["obj_depth_mean"] == pytest.approx([1.0])
    assert "min_pair_distance" not in values


def test_an_unknown_preset_is_named():
    with pytest.raises(InputError, match="unknown preset 'bl3k'; known: basic, bl30k"):
        named("preset", "bl3k", PRESETS)


@pytest.mark.parametrize("key", ["objects", "scale", "fov", "lights", "light_energy", "world_strength", "emission"])
def test_a_range_the_wrong_way_round_is_refused_with_its_key(key):
    least, most = getattr(SceneConfig(), key)
    with pytest.raises(InputError, match=f"'{key}' cannot be .* put the lower number first"):
        read_config(SceneConfig, None, {key: [most, least]})
    for empty in ([], [1], [1, 2, 3], None, [-1, -1]):
        with pytest.raises(InputError, match=key):
            read_config(SceneConfig, None, {key: empty})


def test_a_video_without_objects_or_with_more_than_labels_is_refused():
    for objects in ([0, 2], [1, 256]):
        with pytest.raises(InputError, match="'objects"):
            read_config(SceneConfig, None, {"objects": objects})
