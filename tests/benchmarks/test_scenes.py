"""The pure parts of the rendering benchmark."""

import numpy as np
import pytest

from benchmarks.references import own_noise, psnr, ssim, to_srgb
from benchmarks.scenes import GROUPS, stretch
from benchmarks.tables import result_table, summaries
from blender_scenes.deforming import deformed
from blender_scenes.object_spec import BakedMotion, Curve, CurveMotion, Deformation, ObjectSpec, Swing
from blender_scenes.spec import CameraSpec, LensSpec, LookAtMotion, RenderSettings, SceneSpec
from blender_scenes.trajectories import camera_poses, object_poses
from vosforge.seeding import rng_for

LONG, START, SHORT = 160, 43, 8
SWING = Swing(mean=0.2, size=1.1, turns=2.5, phase=0.3)


def curve(rng: np.random.Generator) -> Curve:
    return Curve(axes=tuple(map(tuple, rng.normal(size=(3, 5)).tolist())))


@pytest.fixture
def spec() -> SceneSpec:
    rng = rng_for("stretch")
    motion = CurveMotion(location=curve(rng), rotation=curve(rng), scale=curve(rng))
    baked = BakedMotion(poses=rng.normal(size=(LONG, 4, 4)).tolist())
    bent = Deformation(twist=(0.1, 2.0, -1.0), wave=(0.2,), phase=(0.0, 1.0), wavelength=0.7, bend=SWING)
    look = LookAtMotion(location=curve(rng), look_at=curve(rng))
    return SceneSpec(
        preset="test",
        seed=0,
        index=0,
        split="train",
        objects=(ObjectSpec(mesh="0" * 32, category="thing", motion=motion, deformation=bent),),
        distractors=(ObjectSpec(mesh="1" * 32, category="thing", motion=baked),),
        camera=CameraSpec(motion=look, fov=0.7, lens=LensSpec(f_number=2.0, focus=(1.0, 3.0))),
        lights=(),
        render=RenderSettings(frames=LONG),
    )


def test_a_stretch_has_the_poses_of_the_long_video(spec):
    part = stretch(spec, START, SHORT)
    assert part.render.frames == SHORT
    here = slice(START, START + SHORT)
    for mine, whole in ((part.objects[0], spec.objects[0]), (part.distractors[0], spec.distractors[0])):
        np.testing.assert_allclose(object_poses(mine, SHORT), object_poses(whole, LONG)[here], atol=1e-9)
    np.testing.assert_allclose(camera_poses(part.camera, SHORT), camera_poses(spec.camera, LONG)[here], atol=1e-9)
    points = rng_for("points").normal(size=(20, 3))
    for t in range(SHORT):
        short, long = t / (SHORT - 1), (START + t) / (LONG - 1)
        bends = (deformed(points, each.objects[0].deformation, u) for each, u in ((part, short), (spec, long)))
        np.testing.assert_allclose(*bends, atol=1e-9)
        focus = (
            np.polynomial.polynomial.polyval(u, each.camera.lens.focus) for each, u in ((part, short), (spec, long))
        )
        np.testing.assert_allclose(*focus, atol=1e-9)


def test_psnr_and_ssim_tell_equal_from_noisy():
    frame = rng_for("frame").integers(0, 256, (64, 96, 3), dtype=np.uint8)
    noisy = np.clip(frame + rng_for("noise").normal(0, 10, frame.shape), 0, 255).astype(np.uint8)
    assert psnr(frame, noisy) == pytest.approx(28.2, abs=0.5)
    assert ssim(frame, frame) == pytest.approx(1.0)
    assert ssim(frame, noisy) < 0.999


def test_a_references_own_noise_is_that_of_its_mean():
    truth = np.full((64, 96, 3), 0.2)
    chunks = truth + rng_for("chunks").normal(0, 0.02, (4, 64, 96, 3))
    assert own_noise(chunks) == pytest.approx(psnr(to_srgb(chunks.mean(axis=0)), to_srgb(truth)), abs=0.3)


def test_the_table_has_a_row_for_every_group_and_way():
    rows = [
        {
            "group": group.name,
            "way": way,
            "cpu": cpu,
            "cpu_all": [0.9 * cpu, 1.1 * cpu],
            "wall": cpu,
            "colour_bytes": 1000.0,
            "mask_bytes": 10.0,
            "psnr": 44.0 if way != "labels" else None,
            "ssim": 0.99 if way != "labels" else None,
        }
        for group in GROUPS
        for way, cpu in (("recipe", 16.0), ("standard", 1.0), ("labels", 0.1))
        for _ in range(group.scenes)
    ]
    assert result_table(rows).row_count == 3 * len(GROUPS)
    found = {(each.group, each.way): each for each in summaries(rows)}
    recipe, standard, labels = (found["10 %", way] for way in ("recipe", "standard", "labels"))
    assert standard.gain == pytest.approx(16) and standard.meets(recipe) == "12x met"
    assert standard._replace(gain=8.0, psnr=43.0).meets(recipe) == "not 12x, PSNR"
    assert labels.meets(recipe) == "100x met"
