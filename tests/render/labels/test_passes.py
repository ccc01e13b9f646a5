"""The optional passes of real renders, against what one ray at a time says, from the spec and the meshes alone."""

from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from assets.procedural import made_mesh
from blender_scenes.making import with_meshes
from blender_scenes.modules import DIVERSE, Modules
from blender_scenes.modules.articulation import Articulated
from blender_scenes.modules.blur import Blur
from blender_scenes.modules.cloth import Cloth
from blender_scenes.modules.deformation import Deforming
from blender_scenes.modules.physics import Physics
from blender_scenes.modules.rooms import Rooms
from blender_scenes.modules.shake import Shake
from blender_scenes.modules.shapes import Shapes
from blender_scenes.modules.weather import Weather
from blender_scenes.object_spec import BakedMotion, Deformation, JointMotion, MadeMesh, Swing
from blender_scenes.sample import PRESETS, SceneConfig, sample_scene
from blender_scenes.spec import Cut, LensSpec, LookAtMotion, MirrorSpec, PlaneSpec, RenderSettings, SceneSpec
from blender_scenes.trajectories import object_poses
from render.farm.events import Done
from render.farm.process import BlenderProcess
from tests.render.conftest import cut_out
from tests.render.raycast import cast_mask, replayed
from tests.render.truth import Place, Truth
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet, ShardVideo
from vosforge.videos.amounts import RECORD, amounts_of, recorded_amounts
from vosforge.videos.verify import find_problem

pytestmark = pytest.mark.blender

PASSES = ("depth", "flow", "normal", "amodal", "tracks")
SETTINGS = RenderSettings(width=96, height=64, frames=4, samples=2, passes=PASSES, tracks=60)
LOOKED_AT = 160
"""Pixels of a frame that are compared: all would take minutes."""


class Looked(NamedTuple):
    """What is seen at a pixel."""

    t: int
    row: int
    column: int
    z: float
    place: Place | None
    """None: nothing."""
    met: set[int]
    """The numbers of all that its ray meets."""


def hung(catalog, index):
    """A scene with two of cloth, blurred: in the image, they hang and fall."""
    modules = Modules(cloth=Cloth(share=1.0, two=1.0, banner=0.0), blur=Blur(share=1.0))
    config = SceneConfig(objects=(4, 4), modules=modules)
    return sample_scene(config, SETTINGS, catalog, seed=2, index=index, split="train")


def diverse(catalog, index, physics):
    """A scene of ``diverse`` with all that could move a label: made, jointed, bent, falling, blurred, out of focus."""
    always = {
        "weather": Weather(fog=1.0),
        "rooms": Rooms(share=1.0, walls=(1, 2)),
        "shapes": Shapes(share=0.4),
        "articulation": Articulated(share=0.5),
        "deformation": Deforming(share=0.5),
        "physics": Physics(share=physics, objects=0.7),
        "shake": Shake(share=1.0),
        "blur": Blur(share=1.0),
    }
    changes = {"modules": Modules(**dict(DIVERSE) | always), "objects": (4, 4), "median_objects": None}
    config = PRESETS["diverse"].model_copy(update=changes)
    spec = sample_scene(config, SETTINGS, catalog, seed=2, index=index, split="train")
    lens = {"lens": LensSpec(f_number=0.3, focus=(2.0, 3.0))}
    return spec.model_copy(update={"camera": spec.camera.model_copy(update=lens)})


def cut_to_the_side(camera):
    """A camera that looks from the left and above from frame 2 on, behind an open shutter."""
    there = {"location": {"axes": [[-4.0, 1.0], [-2.5], [1.0]]}, "look_at": {"axes": [[0.3], [1.5], [0.0, -0.5]]}}
    cut = Cut(frame=2, motion=LookAtMotion.model_validate(there))
    return camera.model_copy(update={"cuts": (cut,), "shutter": 0.8})


@pytest.fixture(scope="module")
def specs(store, catalog):
    """A bent object, a baked one with holes, a distractor; before a backdrop, on a ground, before nothing.

    Before the backdrop, another one has joints. On the ground are two mirrors, of which one shows its back.
    """
    net, netted = cut_out(store, catalog)
    drawn = sample_scene(SceneConfig(objects=(4, 4)), SETTINGS, catalog, seed=5, index=1, split="train")
    bent, baked, plain, hidden = drawn.objects
    how = Deformation(
        twist=(0.0, 3.0),
        wave=(0.1, 0.1),
        wavelength=0.4,
        phase=(0.0, 0.3),
        bend=Swing(size=1.5, turns=0.8),
        axis="longest",
    )
    poses = BakedMotion(poses=object_poses(baked, SETTINGS.frames)[::-1].tolist())
    rich = drawn.model_copy(
        update={
            "objects": (
                bent.model_copy(update={"deformation": how}),
                baked.model_copy(update={"motion": poses, "mesh": netted, "texture": None, "material": net}),
                plain,
            ),
            "distractors": (hidden,),
            "backdrop": None,
            "ground": None,
        }
    )
    walker = MadeMesh(family="snake", seed=3)
    mesh = store.put_mesh(made_mesh(walker.family, walker.seed, store))
    turns = (
        JointMotion(joint=2, axis=(0.0, 0.2, 1.0), angle=Swing(size=0.8, turns=1.3)),
        JointMotion(joint=5, axis=(1.0, 0.0, 0.0), angle=(0.0, 1.0)),
        JointMotion(joint=5, axis=(0.0, 1.0, 0.0), angle=(0.4,)),
    )
    jointed = plain.model_copy(update={"mesh": mesh, "made": walker, "texture": None, "joints": turns})
    image = next(asset.hash for asset in catalog.of_kind("texture"))
    zooming = {"camera": drawn.camera.model_copy(update={"zoom": (-0.3, 0.1, 0.8)})}
    turned = ((-0.9, 0.4, 0.1), 0.5), ((1.2, -1.4, -0.4), 2.8)
    mirrors = [MirrorSpec(middle=at, turn=turn, width=1.3, height=1.5, frame=0.1) for at, turn in turned]
    ground = {"ground": PlaneSpec(texture=image, offset=-1.2, size=60.0), "mirrors": tuple(mirrors)}
    return {
        "a backdrop": rich.model_copy(
            update={
                "backdrop": PlaneSpec(texture=image, offset=9.0, size=9.0, emission=0.5),
                "objects": (*rich.objects[:2], jointed),
            }
        ),
        "a ground": rich.model_copy(update=ground),
        "nothing": rich,
        "a ground, zooming": rich.model_copy(update=ground | zooming),
        "nothing, zooming": rich.model_copy(update=zooming),
        "a ground, cut": rich.model_copy(update=ground | {"camera": cut_to_the_side(drawn.camera)}),
        "diverse": diverse(catalog, 6, 0.0),
        "diverse, physics": diverse(catalog, 9, 1.0),
        "cloth": hung(catalog, 2),
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
            job["renderer"] = None
            *_, last = blender.run({**job, "catalog": str(folder / "catalog.jsonl"), "staged": str(staged)})
            assert isinstance(last, Done), last
            found[name] = ShardSet(staged).video(spec.video_id)
    return found


@pytest.fixture(
    scope="module",
    params=[
        "a backdrop",
        "a ground",
        "nothing",
        "a ground, zooming",
        "nothing, zooming",
        "a ground, cut",
        "diverse",
        "diverse, physics",
        "cloth",
    ],
)
def case(request, videos, store):
    """A video, and what is seen at many of its pixels."""
    video = videos[request.param]
    spec = replayed(with_meshes(SceneSpec.model_validate_json(video.spec_json), store), store)
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
                looked.append(Looked(t, row, column, z, place, {place.number for _, place in meetings}))
            else:
                different += 1
        assert different <= 1
    numbers = {at.place.number if at.place else None for at in looked}
    assert numbers >= {1, 2, 3, 4, None if "nothing" in request.param else 0}
    triangles, mirrors = len(truth.triangles(0)[0]), len(spec.mirrors)
    seen = {(triangles - 1 - at.place.triangle) // 2 for at in looked if at.place}
    assert set(range(mirrors)) <= seen and ("ground" in request.param) == (mirrors > 0)
    return video, truth, looked


def test_the_diverse_scenes_have_all_that_could_move_a_label(videos, store):
    kinds = set()
    for name in ("diverse", "diverse, physics"):
        spec = SceneSpec.model_validate_json(videos[name].spec_json)
        assert spec.camera.lens and spec.camera.shutter and spec.atmosphere and spec.walls
        for item in spec.objects:
            has = {"joints": item.joints, "bend": item.deformation, "stands": item.stands, "made": item.made}
            kinds |= {item.motion.kind, *(f"{what}, {item.motion.kind}" for what in has if has[what])}
    assert kinds >= {"curve", "simulated", "bend, simulated", "joints, simulated", "joints, curve", "stands, curve"}


def test_depth_is_the_distance_along_the_axis(case):
    video, _, looked = case
    for t in range(SETTINGS.frames):
        depth = video.depth(t)
        assert depth.dtype == np.float16
        found, wanted = np.array([(depth[at.row, at.column], at.z) for at in looked if at.t == t]).T
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
    for t, row, column, _, place, _ in looked:
        other = t - 1 if backward else t + 1
        flow = video.flow(t, backward)[row, column].astype(float)
        if not 0 <= other < SETTINGS.frames or max(t, other) in video.cuts:
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


def test_videos_with_all_passes_verify(videos):
    for name, video in videos.items():
        assert find_problem(video.path, video.row) is None, name
        assert video.cuts == ((2,) if "cut" in name else ())


def test_normals_face_the_camera_from_their_triangles(case):
    video, truth, looked = case
    cosines = []
    for t, row, column, _, place, _ in looked:
        normal = video.normal(t)[row, column] / 127
        if place is None:
            assert not normal.any()
        else:
            assert abs(np.linalg.norm(normal) - 1) < 0.01
            cosines.append(normal @ truth.normal(place, t) / np.linalg.norm(normal))
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    print(f"normals are off by {np.quantile(angles, 0.99):.2f}° at 99 %, {angles.max():.2f}° at most")
    assert np.quantile(angles, 0.99) < 0.5  # rounding to 1/127; on an edge, the ray may meet the next triangle


def test_poses_camera_and_boxes_say_where_the_objects_are_seen(specs, videos, store):
    """By scipy's rotations and polynomials; an object that nothing hides is as large as its box."""
    spec, video = specs["nothing"], videos["nothing"]
    pose, box = video.group["objects/pose"][()], video.group["objects/box"][()]
    to_camera, K = video.group["camera/world_to_camera"][()], video.group["camera/intrinsics"][()]
    compared = 0
    for t in range(SETTINGS.frames):
        u = t / (SETTINGS.frames - 1)

        def at(curve, u=u):
            return np.array([np.polyval(axis[::-1], u) for axis in curve.axes])

        eye, target = at(spec.camera.motion.location), at(spec.camera.motion.look_at)
        right, down, forward = to_camera[t, :3, :3]
        assert np.allclose(to_camera[t] @ [*eye, 1], [0, 0, 0, 1])
        assert np.allclose(forward, (target - eye) / np.linalg.norm(target - eye))
        assert abs(right[2]) < 1e-12 and down[2] < 0 and np.allclose(np.cross(right, down), forward)
        assert np.allclose(2 * np.arctan(SETTINGS.width / 2 / K[t, 0, 0]), spec.camera.fov) and K[t, 0, 0] == K[t, 1, 1]
        assert K[t, :2, 2].tolist() == [SETTINGS.width / 2, SETTINGS.height / 2]
        for k in (0, 2):
            motion = spec.objects[k].motion
            turned = Rotation.from_euler("xyz", at(motion.rotation)).as_matrix() * at(motion.scale)
            assert np.allclose(pose[t, k], np.block([[turned, at(motion.location)[:, None]], [np.eye(4)[3]]]))
        vertices = store.mesh(spec.objects[2].mesh).vertices.astype(float)
        seen = (to_camera[t] @ pose[t, 2] @ np.c_[vertices, np.ones(len(vertices))].T)[:3]
        x, y, z = K[t] @ seen
        low, high = np.array([x / z, y / z]).min(axis=1), np.array([x / z, y / z]).max(axis=1)
        whole = (low > 0).all() and (high < [SETTINGS.width, SETTINGS.height]).all()
        if whole and video.visibility()[t, 2] == 1:
            assert np.abs(box[t, 2] - [*low, *high]).max() <= 1
            compared += 1
    assert compared


def test_amodal_masks_hold_every_object_that_a_ray_meets(case):
    video, _, looked = case
    different = hidden = 0
    for t, row, column, *_, met in looked:
        expected = [number in met for number in range(1, video.num_objects + 1)]
        different += video.amodal(t)[:, row, column].tolist() != expected
        hidden += sum(expected) > (video.mask(t)[row, column] > 0)
    assert different <= 2 and hidden


def test_amodal_masks_are_what_the_objects_cover_alone(specs, videos, store):
    spec, video = specs["a ground"], videos["a ground"]
    shown = 0
    for t in range(SETTINGS.frames):
        mask, amodal, visibility = video.mask(t), video.amodal(t), video.visibility()[t]
        for k, item in enumerate(spec.objects):
            alone = spec.model_copy(update={"objects": (item,), "distractors": (), "ground": None, "mirrors": ()})
            covered = cast_mask(alone, store, t) > 0
            assert np.array_equal(amodal[k], covered | (mask == k + 1))
            assert (covered ^ amodal[k]).sum() <= 1
            if covered.any():
                assert visibility[k] == pytest.approx((mask == k + 1).sum() / amodal[k].sum())
                shown += visibility[k] < 0.9
            else:
                assert np.isnan(visibility[k])
    assert shown, "something is hidden"


def test_tracks_stay_on_their_surfaces_and_know_when_they_are_hidden(case, specs):
    video, truth, _ = case
    points, occluded, on = video.tracks()
    K = video.num_objects
    assert points.shape == (SETTINGS.frames, 60, 2) and np.bincount(on).tolist() == [0, *[60 // K] * K]
    assert occluded.any() and not occluded.all(axis=0).any()
    off = []
    for n in range(points.shape[1]):
        t = int(np.argmin(occluded[:, n]))  # a frame that shows it says where on which triangle it is
        z, place = truth.meetings(t, *points[t, n].astype(float))[0]
        assert place.number == on[n]
        for other in range(SETTINGS.frames):
            there = truth.pixel(truth.where(place, other), other)
            off.append(np.abs(there - points[other, n]).max())
            inside = (there >= 0).all() and (there < [SETTINGS.width, SETTINGS.height]).all()
            z = (truth.cameras[other] @ [*truth.where(place, other), 1.0])[2]
            hidden = not inside or any(nearer < z * (1 - 2e-6) for nearer, _ in truth.meetings(other, *there))
            assert hidden == occluded[other, n]
    print(f"tracks are off by {max(off):.5f} pixels at most")
    assert max(off) < 0.01


def test_amounts_are_recorded_as_they_are_measured_from_the_shard(videos):
    for name, video in videos.items():
        recorded = recorded_amounts(video)
        attributes = {key: value for key, value in video.attributes.items() if key != RECORD}
        with patch.object(ShardVideo, "attributes", attributes):
            measured = amounts_of(video)
        spec = SceneSpec.model_validate_json(video.spec_json)
        bent = [item.deformation for item in recorded.objects if item.deformation is not None]
        assert 0.02 < max(bent) < 0.6
        for own, again, item in zip(recorded.objects, measured.objects, spec.objects, strict=True):
            assert own.deforming != item.rigid
            # Encoded frames differ a little; what is in view of frame 0 and deformation only the renderer knows.
            assert own.contrast == pytest.approx(again.contrast, abs=3)
            unlike = {"contrast": None, "lookalikes": None, "deformation": None}
            assert own.model_copy(update=unlike) == again.model_copy(update=unlike)
            assert own.lookalikes <= again.lookalikes and own.occlusion is not None
        assert recorded.distractors == len(spec.distractors) > 0, name
