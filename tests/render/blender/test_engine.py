"""Real Blender renders, through the product's own process."""

import os
import re
import signal

import cv2
import numpy as np
import pytest

from assets.prepared import Material
from assets.store import AssetStore
from blender_scenes.object_spec import BakedMotion, Curve, Deformation
from blender_scenes.sample import SceneConfig, sample_scene
from blender_scenes.spec import AtmosphereSpec, LensSpec, RenderSettings, SceneSpec
from blender_scenes.trajectories import camera_poses, intrinsics, object_poses
from render.farm.events import Done, Frames
from render.farm.process import BlenderCrashError, BlenderProcess, BlenderUnusableError, cards_of
from tests.render.raycast import cast, cast_mask, undecided
from vosforge import VOSForgeError
from vosforge.videos import ShardSet

pytestmark = pytest.mark.blender

SETTINGS = RenderSettings(width=120, height=80, frames=3, samples=2)
BENT = Deformation(twist=(0.0, 3.0), wave=(0.1,), wavelength=0.4, bend=(1.5,))


@pytest.fixture(scope="module")
def specs(catalog):
    solid = SceneConfig(objects=(3, 4))
    drawn = [sample_scene(solid, SETTINGS, catalog, seed=2, index=n, split="train") for n in range(12)]
    # One of each surroundings, so that every way of building a scene is rendered.
    kinds = {(spec.backdrop is not None, spec.ground is not None): spec for spec in drawn}
    assert len(kinds) == 3
    return list(kinds.values())


@pytest.fixture(scope="module")
def blender(tmp_path_factory):
    with BlenderProcess(tmp_path_factory.mktemp("log") / "blender.log") as process:
        yield process


def job(spec, store, catalog, folder):
    folder.mkdir(parents=True, exist_ok=True)
    catalog.save(folder / "catalog.jsonl")
    return {
        "do": "render",
        "spec": spec.model_dump_json(),
        "store": str(store.root),
        "catalog": str(folder / "catalog.jsonl"),
        "staged": str(folder / f"{spec.video_id}.h5"),
        "gates": True,
        "renderer": None,
    }


def rendered(blender, spec, store, catalog, folder):
    events = list(blender.run(job(spec, store, catalog, folder)))
    assert [event for event in events if isinstance(event, Frames)] == [Frames()] * SETTINGS.frames
    assert isinstance(events[-1], Done), events[-1]
    return ShardSet(folder / f"{spec.video_id}.h5").video(spec.video_id)


def test_masks_equal_an_independent_ray_cast(blender, specs, store, catalog, tmp_path):
    for spec in specs:
        video = rendered(blender, spec, store, catalog, tmp_path)
        assert video.spec_json == spec.model_dump_json()
        for t in range(SETTINGS.frames):
            different = video.mask(t) != cast_mask(spec, store, t)
            assert different.sum() <= 2, f"video {spec.video_id}, frame {t}: {different.sum()} pixels"
            if different.any():  # an outline within a five-hundredth of a pixel from the centre
                assert undecided(spec, store, t, video.mask(t), different)


@pytest.fixture(scope="module")
def rich(specs):
    """A spec with everything in it: a bent object, a baked one, a distractor, a material, brighter by a stop."""
    plain = max(specs, key=lambda spec: len(spec.objects))
    bent, baked, hidden = plain.objects[:3]
    poses = object_poses(baked, SETTINGS.frames)[::-1]
    return plain.model_copy(
        update={
            "objects": (
                bent.model_copy(
                    update={"deformation": Deformation(twist=(0.0, 3.0), wave=(0.1,), wavelength=0.4, bend=(1.5,))}
                ),
                baked.model_copy(
                    update={
                        "motion": BakedMotion(poses=poses.tolist()),
                        "texture": None,
                        "material": Material(base_color=(0.9, 0.1, 0.1)),
                    }
                ),
            ),
            "distractors": (hidden,),
        }
    )


def test_bent_baked_and_unlabelled_objects_have_exact_masks_too(blender, rich, store, catalog, tmp_path):
    video = rendered(blender, SceneSpec.model_validate_json(rich.model_dump_json()), store, catalog, tmp_path)
    masks = video.masks()
    assert set(np.unique(masks)) == {0, 1, 2}
    for t in range(SETTINGS.frames):
        different = masks[t] != cast_mask(rich, store, t)
        assert different.sum() <= 2
        if different.any():
            assert undecided(rich, store, t, masks[t], different)
    unbent = rich.objects[0].model_copy(update={"deformation": None})
    straight = rich.model_copy(update={"objects": (unbent, rich.objects[1])})
    assert (cast_mask(straight, store, 2) != masks[2]).sum() > 20, "the bent object looks bent"


def test_a_lens_blurs_the_colours_and_leaves_the_masks_exact(blender, specs, store, catalog, tmp_path):
    many = SETTINGS.model_copy(update={"samples": 48})  # few samples of a blur are noise
    spec = specs[0].model_copy(update={"render": many})
    far = spec.camera.model_copy(update={"lens": LensSpec(f_number=0.2, focus=(1.0,))})
    sharp, blurred = (
        rendered(blender, each, store, catalog, tmp_path / str(n))
        for n, each in enumerate((spec, spec.model_copy(update={"camera": far})))
    )
    assert np.array_equal(sharp.masks(), blurred.masks())
    detail = [cv2.Laplacian(video.frame(0), cv2.CV_32F).std() for video in (sharp, blurred)]
    assert detail[1] < 0.7 * detail[0]
    again = rendered(blender, spec, store, catalog, tmp_path / "again")
    assert np.array_equal(again.frames(), sharp.frames()), "nothing of the lens stays behind"


def light(frames):
    """sRGB uint8 as scene-linear light (IEC 61966-2-1)."""
    x = frames / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def later(spec, shift):
    """The spec with everything in it ``shift`` frames further along, as baked poses."""
    frames, u = spec.render.frames, shift / (spec.render.frames - 1)
    items = []
    for item in spec.objects:
        start, speed = item.deformation.wave
        update = {
            "motion": BakedMotion(poses=object_poses(item, frames, shift).tolist()),
            "deformation": item.deformation.model_copy(update={"wave": (start + speed * u, speed)}),
        }
        items.append(item.model_copy(update=update))
    poses = np.linalg.inv(camera_poses(spec.camera, frames, shift)).tolist()
    camera = spec.camera.model_copy(update={"motion": BakedMotion(poses=poses)})
    return spec.model_copy(update={"objects": tuple(items), "camera": camera})


def test_an_open_shutter_shows_the_mean_of_its_instants_and_leaves_the_masks_exact(
    blender, specs, store, catalog, tmp_path
):
    """Objects that move, turn and wave before a moving camera, against sharp renders of many instants."""

    def steady(curve, speed):
        return Curve(axes=tuple((axis[0], step) for axis, step in zip(curve.axes, speed, strict=True)))

    wave = Deformation(wave=(0.1, 0.8))
    items = []
    for item in specs[0].objects[:2]:
        motion = item.motion
        moving = motion.model_copy(
            update={
                "location": steady(motion.location, (0.8, 0.2, -0.5)),
                "rotation": steady(motion.rotation, (0.0, 0.3, 0.3)),
                "scale": steady(motion.scale, (0.0, 0.0, 0.0)),
            }
        )
        items.append(item.model_copy(update={"motion": moving, "deformation": wave}))
    path = specs[0].camera.motion
    path = path.model_copy(
        update={"location": steady(path.location, (0.2, 0, 0.1)), "look_at": steady(path.look_at, (0, 0, 0))}
    )
    camera = specs[0].camera.model_copy(update={"motion": path})
    many = SETTINGS.model_copy(update={"samples": 48})
    spec = specs[0].model_copy(update={"objects": tuple(items), "camera": camera, "render": many})
    slow = spec.model_copy(update={"camera": camera.model_copy(update={"shutter": 0.6})})
    blurred = rendered(blender, slow, store, catalog, tmp_path / "blurred")
    instants = 0.6 * ((np.arange(5) + 0.5) / 5 - 0.5)
    seen = [light(rendered(blender, later(spec, shift), store, catalog, tmp_path).frames()) for shift in instants]
    mean = np.mean(seen, axis=0)
    sharp = rendered(blender, spec, store, catalog, tmp_path / "sharp")
    for t in range(SETTINGS.frames):
        # Means over 5x5 pixels, so that the noise of few samples does not count.
        off, unblurred = (
            np.square(cv2.blur(light(frames[t]) - mean[t], (5, 5))).mean()
            for frames in (blurred.frames(), sharp.frames())
        )
        assert off < 0.25 * unblurred  # few samples, denoised by their colours alone: 0.18 was seen
    assert np.array_equal(blurred.masks(), sharp.masks())


def test_a_zoom_blurs_what_stands_still_and_leaves_the_masks_exact(blender, specs, store, catalog, tmp_path):
    """Against sharp renders of many instants."""
    frames = SETTINGS.frames

    def still(poses):
        return BakedMotion(poses=[poses[0].tolist()] * frames)

    camera = specs[0].camera
    fixed = still(np.linalg.inv(camera_poses(camera, frames)))
    items = [item.model_copy(update={"motion": still(object_poses(item, frames))}) for item in specs[0].objects]
    many = SETTINGS.model_copy(update={"samples": 48})
    spec = specs[0].model_copy(update={"objects": tuple(items), "render": many})

    def zooming(shift, shutter=0.0):
        zoom = (-0.2 + 1.2 * shift / (frames - 1), 1.2)
        changes = {"motion": fixed, "zoom": zoom, "shutter": shutter}
        return spec.model_copy(update={"camera": camera.model_copy(update=changes)})

    blurred = rendered(blender, zooming(0.0, 0.6), store, catalog, tmp_path / "blurred")
    instants = 0.6 * ((np.arange(5) + 0.5) / 5 - 0.5)
    seen = [light(rendered(blender, zooming(shift), store, catalog, tmp_path).frames()) for shift in instants]
    sharp = rendered(blender, zooming(0.0), store, catalog, tmp_path / "sharp")
    for t, mean in enumerate(np.mean(seen, axis=0)):
        off, unblurred = (
            np.square(cv2.blur(light(video.frame(t)) - mean, (5, 5))).mean() for video in (blurred, sharp)
        )
        assert off < 0.25 * unblurred
        assert (sharp.mask(t) != cast_mask(zooming(0.0), store, t)).sum() <= 2
    assert np.array_equal(blurred.masks(), sharp.masks())
    focal = sharp.group["camera/intrinsics"][()][:, 0, 0] / SETTINGS.width
    assert np.log2(2 * focal * np.tan(camera.fov / 2)) == pytest.approx(np.linspace(-0.2, 1.0, frames))


def test_haze_grows_with_the_distance_to_the_camera(blender, specs, store, catalog, tmp_path):
    """Nothing shines but the haze, so that each pixel says how much of it lies before what is seen."""
    dark = {"lights": (), "world": None, "backdrop": None, "atmosphere": AtmosphereSpec(density=0.1, color=(1, 0.5, 0))}
    spec = next(spec for spec in specs if spec.ground).model_copy(update=dark)
    linear = light(rendered(blender, spec, store, catalog, tmp_path).frame(0))
    _, depth = cast(spec, store, 0)
    K = intrinsics(spec.camera, SETTINGS.width, SETTINGS.height, 2)[0]
    x, y = np.meshgrid(np.arange(SETTINGS.width) + 0.5, np.arange(SETTINGS.height) + 0.5)
    distance = depth * np.sqrt(1 + ((x - K[0, 2]) / K[0, 0]) ** 2 + ((y - K[1, 2]) / K[1, 1]) ** 2)
    expected = (1 - np.exp(-0.1 * distance))[..., None] * [1, 0.5, 0]
    assert np.isinf(depth).any() and np.isfinite(depth).any()
    difference = np.abs(linear - expected)[1:-1, 1:-1].max(axis=-1)
    assert np.median(difference) < 0.01 and np.quantile(difference, 0.9) < 0.04  # outlines blend near and far


def test_a_stop_of_exposure_doubles_the_light(blender, specs, store, catalog, tmp_path):
    spec = specs[0]
    darker = spec.model_copy(update={"exposure": -1.0})
    plain, dark = (
        rendered(blender, each, store, catalog, tmp_path / str(n)).frames() for n, each in enumerate((spec, darker))
    )
    middle = (plain > 60) & (plain < 240)
    assert np.median(light(dark)[middle] / light(plain)[middle]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("wrap", ["box", "unwrap"])
def test_a_replacement_texture_shows_on_every_object(blender, specs, store, catalog, tmp_path, wrap):
    texture = next(asset.hash for asset in catalog.of_kind("texture"))
    items = tuple(item.model_copy(update={"texture": texture, "wrap": wrap}) for item in specs[0].objects)
    plain = tuple(item.model_copy(update={"texture": None, "material": Material()}) for item in specs[0].objects)
    shown, bare = (
        rendered(blender, specs[0].model_copy(update={"objects": each}), store, catalog, tmp_path / name)
        for name, each in (("shown", items), ("bare", plain))
    )
    assert np.array_equal(shown.masks(), bare.masks())
    for label in np.unique(shown.masks())[1:]:
        at = shown.masks() == label
        assert np.abs(shown.frames()[at].astype(int) - bare.frames()[at]).mean() > 3


def test_the_same_spec_gives_the_same_bytes_in_another_process_after_another_scene(
    blender, specs, store, catalog, tmp_path
):
    first = rendered(blender, specs[0], store, catalog, tmp_path / "a")
    rendered(blender, specs[1], store, catalog, tmp_path / "a")
    again = rendered(blender, specs[0], store, catalog, tmp_path / "b")
    with BlenderProcess(tmp_path / "other.log", threads=2) as other:
        elsewhere = rendered(other, specs[0], store, catalog, tmp_path / "c")
    assert again.path.read_bytes() == first.path.read_bytes() == elsewhere.path.read_bytes()


def test_frames_differ_from_one_another_and_show_the_objects(blender, specs, store, catalog, tmp_path):
    video = rendered(blender, specs[0], store, catalog, tmp_path)
    frames, masks = video.frames().astype(float), video.masks()
    assert np.abs(frames[0] - frames[1]).mean() > 0.5
    assert set(np.unique(masks)) == set(range(video.num_objects + 1))
    assert frames.mean() > 12


def test_a_missing_asset_is_one_sentence_and_the_process_goes_on(blender, specs, store, catalog, tmp_path):
    empty = AssetStore(tmp_path / "empty")
    with pytest.raises(VOSForgeError, match=r"not in the asset store .* \(it is .*, (procedural|bpy)/"):
        list(blender.run(job(specs[0], empty, catalog, tmp_path)))
    assert not list(tmp_path.glob("*.h5"))
    rendered(blender, specs[0], store, catalog, tmp_path)


def test_a_video_without_objects_in_sight_is_refused(blender, specs, store, catalog, tmp_path):
    motion = specs[0].objects[0].motion
    away = motion.location.model_copy(update={"axes": ((0.0,), (-50.0,), (0.0,))})
    hidden = specs[0].objects[0].model_copy(update={"motion": motion.model_copy(update={"location": away})})
    spec = specs[0].model_copy(update={"objects": (hidden,)})
    events = list(blender.run(job(spec, store, catalog, tmp_path)))
    assert "almost no mask" in events[-1].reason
    assert not list(tmp_path.glob("*.h5"))
    events = list(blender.run({**job(spec, store, catalog, tmp_path), "gates": False}))
    assert isinstance(events[-1], Done) and list(tmp_path.glob("*.h5"))


def test_what_rendered_is_recorded(blender, specs, store, catalog, tmp_path):
    renderer = rendered(blender, specs[0], store, catalog, tmp_path).attributes["renderer"]
    assert re.fullmatch(r"Blender (4\.5|5\.0)\.\d+( LTS)? Cycles CPU", renderer)


def test_the_processor_proves_that_it_can_render():
    assert cards_of("cpu") == 0


def test_a_missing_device_is_refused_with_the_first_job_and_with_each_after_it(specs, store, catalog, tmp_path):
    with BlenderProcess(tmp_path / "blender.log", device="hip") as process:
        for _ in range(2):
            try:
                list(process.run(job(specs[0], store, catalog, tmp_path)))
            except BlenderUnusableError as error:
                assert "no device of the kind 'hip'" in str(error)
                assert process.pid is None
            else:
                pytest.skip("this machine has an AMD GPU")
    assert not list(tmp_path.glob("*.h5"))


def test_a_killed_blender_is_reported_and_replaced(specs, store, catalog, tmp_path):
    with BlenderProcess(tmp_path / "blender.log") as process:
        events = process.run(job(specs[0], store, catalog, tmp_path))
        next(events)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(BlenderCrashError, match="exit code -9"):
            list(events)
        rendered(process, specs[0], store, catalog, tmp_path)
