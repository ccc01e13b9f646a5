"""The optional passes of real renders, against what one ray at a time says, from the spec and the meshes alone."""

import numpy as np
import pytest

from blender_scenes.sample import SceneConfig, sample_scene
from blender_scenes.spec import BakedMotion, Deformation, PlaneSpec, RenderSettings
from blender_scenes.trajectories import object_poses
from render.process import BlenderProcess
from render.shards import ShardSet
from tests.render.truth import Truth
from vosforge import InputError
from vosforge.seeding import rng_for

pytestmark = pytest.mark.blender

SETTINGS = RenderSettings(width=96, height=64, frames=4, samples=2, passes=("depth", "flow", "normal"))
LOOKED_AT = 250
"""Pixels of a frame that are compared: all would take minutes."""


@pytest.fixture(scope="module")
def specs(catalog):
    """A bent object, a baked one, a distractor; before a backdrop, on a ground, before nothing."""
    drawn = sample_scene(SceneConfig(objects=(4, 4)), SETTINGS, catalog, seed=5, index=1, split="train")
    bent, baked, plain, hidden = drawn.objects
    how = Deformation(twist=(0.0, 3.0), wave=(0.1, 0.1), wavelength=0.4, phase=(0.0, 0.3))
    poses = BakedMotion(poses=object_poses(baked, SETTINGS.frames)[::-1].tolist())
    rich = drawn.model_copy(
        update={
            "objects": (
                bent.model_copy(update={"deformation": how}),
                baked.model_copy(update={"motion": poses}),
                plain,
            ),
            "distractors": (hidden,),
            "backdrop": None,
            "ground": None,
        }
    )
    image = next(asset.hash for asset in catalog.of_kind("texture"))
    return {
        "a backdrop": rich.model_copy(
            update={"backdrop": PlaneSpec(texture=image, offset=9.0, size=9.0, emission=0.5)}
        ),
        "a ground": rich.model_copy(update={"ground": PlaneSpec(texture=image, offset=-1.2, size=60.0)}),
        "nothing": rich,
    }


@pytest.fixture(scope="module")
def videos(specs, store, catalog, tmp_path_factory):
    folder = tmp_path_factory.mktemp("passes")
    catalog.save(folder / "catalog.jsonl")
    found = {}
    with BlenderProcess(folder / "blender.log") as blender:
        for number, (name, spec) in enumerate(specs.items()):
            staged = folder / f"{number}.h5"
            job = {"do": "render", "spec": spec.model_dump_json(), "store": str(store.root), "gates": False}
            *_, last = blender.run({**job, "catalog": str(folder / "catalog.jsonl"), "staged": str(staged)})
            assert "done" in last, last
            found[name] = ShardSet(staged).video(spec.video_id)
    return found


@pytest.fixture(scope="module", params=["a backdrop", "a ground", "nothing"])
def case(request, specs, videos, store):
    """A video, and what is seen at many of its pixels: frame, row, column, depth and place (None for nothing)."""
    spec, video = specs[request.param], videos[request.param]
    truth = Truth(spec, store)
    looked = []
    rng = rng_for("pixels", request.param)
    for t in range(SETTINGS.frames):
        mask = video.mask(t)
        different = 0
        on_objects, elsewhere = (rng.permutation(np.argwhere(where)) for where in (mask > 0, mask == 0))
        for row, column in (*on_objects[: LOOKED_AT // 2], *elsewhere[: LOOKED_AT // 2]):
            meetings = truth.meetings(t, column + 0.5, row + 0.5)
            z, place = meetings[0] if meetings else (np.inf, None)
            number = place.number if place and place.number <= len(spec.objects) else 0
            if number == mask[row, column]:
                looked.append((t, row, column, z, place))
            else:
                different += 1
        assert different <= 1
    numbers = {place.number if place else None for *_, place in looked}
    assert numbers >= {1, 2, 3, 4, None if request.param == "nothing" else 0}
    return video, truth, looked


def test_depth_is_the_distance_along_the_axis(case):
    video, _, looked = case
    for t in range(SETTINGS.frames):
        depth = video.depth(t)
        assert depth.dtype == np.float16
        found, wanted = np.array([(depth[row, column], z) for at, row, column, z, _ in looked if at == t]).T
        near = np.isfinite(wanted)
        assert np.array_equal(np.isfinite(found), near)
        found, wanted = found[near], wanted[near]
        # Half a step of float16, and what a two-thousandth of a pixel does to a surface seen at a flat angle.
        off = np.abs(found - wanted) / wanted
        assert np.quantile(off, 0.98) <= 2**-11 + 1e-6 and off.max() < 0.01


@pytest.mark.parametrize("backward", [False, True])
def test_flow_is_where_the_surface_goes(case, backward):
    video, truth, looked = case
    worst = 0.0
    for t, row, column, _, place in looked:
        other = t - 1 if backward else t + 1
        flow = video.flow(t, backward)[row, column].astype(float)
        if not 0 <= other < SETTINGS.frames:
            assert np.isnan(flow).all()
            continue
        here = np.array([column + 0.5, row + 0.5])
        if place is None:
            there = truth.pixel_of_direction(*here, t, other)
        else:
            there = truth.pixel(truth.where(place, other), other)
        worst = max(worst, np.abs(flow - (there - here)).max())
    print(f"flow is off by {worst:.4f} pixels at most")
    assert worst <= 0.05


def test_normals_face_the_camera_from_their_triangles(case):
    video, truth, looked = case
    cosines = []
    for t, row, column, _, place in looked:
        normal = video.normal(t)[row, column] / 127
        if place is None:
            assert not normal.any()
        else:
            assert abs(np.linalg.norm(normal) - 1) < 0.01
            cosines.append(normal @ truth.normal(place, t) / np.linalg.norm(normal))
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    print(f"normals are off by {np.quantile(angles, 0.99):.2f}° at 99 %, {angles.max():.2f}° at most")
    assert np.quantile(angles, 0.99) < 0.5  # rounding to 1/127; on an edge, the ray may meet the next triangle


def test_a_pass_that_is_not_there_is_one_sentence(videos):
    with pytest.raises(InputError, match=r"has no tracks: render it with render.passes=\[tracks\]"):
        videos["nothing"].tracks()
