import numpy as np
import pytest

from blender_scenes.object_spec import BakedMotion, CurveMotion, ObjectSpec
from blender_scenes.spec import CameraSpec, LookAtMotion
from blender_scenes.trajectories import (
    camera_poses,
    euler_matrices,
    evaluate,
    fit_curve,
    intrinsics,
    least_distance,
    limited_step,
    object_poses,
    sample_pauses,
    sample_walk,
)
from vosforge.seeding import rng_for


def rotation(axis: int, angle: float) -> np.ndarray:
    """The textbook rotation about one axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
    return matrix


def test_a_curve_passes_through_its_control_points():
    points = rng_for("curve").normal(size=(5, 3))
    assert np.allclose(evaluate(fit_curve(points), 161)[::40], points)


def test_euler_angles_turn_about_x_then_y_then_z():
    angles = rng_for("euler").uniform(-3, 3, (20, 3))
    for (x, y, z), matrix in zip(angles, euler_matrices(angles), strict=True):
        assert np.allclose(matrix, rotation(2, z) @ rotation(1, y) @ rotation(0, x))


def test_a_limited_step_never_passes_its_target_in_either_direction():
    rng = rng_for("step")
    for _ in range(200):
        start, target = rng.normal(size=(2, 3))
        end = limited_step(rng, 0.5, start, target)
        assert ((end - start) * (target - start) >= 0).all()
        assert (np.abs(end - start) <= np.abs(target - start) + 1e-12).all()


def test_an_upward_limit_leaves_downward_moves_alone():
    rng = rng_for("upward")
    for _ in range(200):
        start, target = rng.normal(size=(2, 3))
        end = limited_step(rng, 0.1, start, target, "upward")
        down = target < start
        assert np.allclose(end[down], target[down])
        assert (end[~down] >= start[~down]).all() and (end[~down] <= target[~down] + 1e-12).all()


def test_pauses_begin_and_end_as_often_as_they_should():
    rng = rng_for("pause")
    paused = np.array([sample_pauses(rng) for _ in range(4000)])
    assert paused[:, 0].mean() == pytest.approx(0.10, abs=0.02)
    assert paused[:, 1:][paused[:, :-1]].mean() == pytest.approx(0.35, abs=0.05)
    assert paused[:, 1:][~paused[:, :-1]].mean() == pytest.approx(0.10, abs=0.02)


def test_a_walk_stands_still_in_its_pauses_only():
    points = sample_walk([False, True, True, False], np.zeros(3), lambda a: a + 1)
    assert points[:, 0].tolist() == [0, 1, 1, 1, 2]


def test_the_minimiser_finds_a_minimum_that_is_never_below_the_least_distance():
    rng = rng_for("least")
    missed = 0
    for _ in range(100):
        one, other = (fit_curve(rng.normal(size=(5, 3))) for _ in range(2))
        dense = np.linalg.norm(evaluate(one, 2000) - evaluate(other, 2000), axis=1).min()
        found = least_distance(one, other)
        assert found >= dense - 1e-2
        missed += found > dense + 1e-2
    assert 0 < missed < 60  # it is a local search, and the published generator's at that


def test_the_camera_sees_what_it_looks_at_in_the_middle_and_up_is_up():
    rng = rng_for("camera")
    look = fit_curve(rng.uniform([-0.5, 3, -0.5], [0.5, 4, 0.5], (5, 3)))
    location = fit_curve(rng.uniform([-0.3, -6, -0.3], [0.3, -5, 0.3], (5, 3)))
    camera = CameraSpec(motion=LookAtMotion(location=location, look_at=look), fov=0.75)
    poses, targets = camera_poses(camera, 9), evaluate(look, 9)
    K = intrinsics(camera, 384, 256, 2)[0]
    for pose, target in zip(poses, targets, strict=True):
        seen = K @ (pose[:3, :3] @ target + pose[:3, 3])
        assert seen[2] > 0
        assert np.allclose(seen[:2] / seen[2], [192, 128])
        above = K @ (pose[:3, :3] @ (target + np.array([0, 0, 0.1])) + pose[:3, 3])
        assert above[1] / above[2] < 128
        right = K @ (pose[:3, :3] @ (target + np.array([0.1, 0, 0])) + pose[:3, 3])
        assert right[0] / right[2] > 192
        assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3))


def test_object_poses_scale_first_then_turn_then_move():
    curves = [fit_curve(rng_for("pose", n).uniform(0.5, 1.5, (5, 3))) for n in range(3)]
    motion = CurveMotion(location=curves[0], rotation=curves[1], scale=curves[2])
    item = ObjectSpec(mesh="0" * 32, category="a", motion=motion)
    point = np.array([0.3, -0.2, 0.4])
    for t, pose in enumerate(object_poses(item, 4)):
        x, y, z = evaluate(curves[1], 4)[t]
        turned = rotation(2, z) @ rotation(1, y) @ rotation(0, x) @ (evaluate(curves[2], 4)[t] * point)
        assert np.allclose((pose @ [*point, 1])[:3], turned + evaluate(curves[0], 4)[t])


def test_baked_poses_are_taken_as_they_are():
    poses = rng_for("baked").normal(size=(4, 4, 4))
    item = ObjectSpec(mesh="0" * 32, category="a", motion=BakedMotion(poses=poses.tolist()))
    assert np.array_equal(object_poses(item, 4), poses)


def test_a_baked_camera_is_where_it_says():
    rng = rng_for("baked camera")
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, :3, :3] = euler_matrices(rng.uniform(-3, 3, (3, 3)))
    poses[:, :3, 3] = rng.normal(size=(3, 3))
    camera = CameraSpec(motion=BakedMotion(poses=poses.tolist()), fov=0.75)
    assert np.allclose(camera_poses(camera, 3) @ poses, np.eye(4))


def test_shifted_poses_lie_between_those_of_the_frames():
    walk = [fit_curve(rng_for("shift", n).normal(size=(5, 3))) for n in range(3)]
    motion = CurveMotion(location=walk[0], rotation=walk[1], scale=walk[2])
    item = ObjectSpec(mesh="0" * 32, category="thing", motion=motion)
    camera = CameraSpec(motion=LookAtMotion(location=walk[0], look_at=walk[1]), fov=0.7)
    for poses, of in ((object_poses, item), (camera_poses, camera)):
        assert np.allclose(poses(of, 5, 0.5)[:-1], poses(of, 9)[1::2])
        assert np.allclose(poses(of, 5, -0.5)[1:], poses(of, 9)[1::2])


def test_baked_poses_are_shifted_evenly_and_go_on_at_the_ends():
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = [0.0, 1.0, 4.0]
    item = ObjectSpec(mesh="0" * 32, category="thing", motion=BakedMotion(poses=poses.tolist()))
    assert np.allclose(object_poses(item, 3, 0.5)[:, 0, 3], [0.5, 2.5, 5.5])
    assert np.allclose(object_poses(item, 3, -0.5)[:, 0, 3], [-0.5, 0.5, 2.5])
