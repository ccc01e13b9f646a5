"""Shapes over time, against what each deformation means."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from assets.prepared import Skeleton, prepare_mesh
from blender_scenes.deforming import course, deformed, misfit, shaped, shown
from blender_scenes.object_spec import BakedMotion, Deformation, JointMotion, ObjectSpec, Swing
from tests.blender_scenes.test_trajectories import rotation
from tests.render.raycast import shape
from vosforge import VOSForgeError
from vosforge.seeding import rng_for

POINTS = rng_for("shape").uniform(-0.5, 0.5, (50, 3)).astype(np.float32)


def test_a_deformation_waves_and_twists_and_is_nothing_by_default():
    assert np.allclose(deformed(POINTS, Deformation(), 0.3), POINTS)
    twisted = deformed(POINTS, Deformation(twist=(0.0, 2.0)), 0.5)  # one radian a unit of height, by then
    for before, after in zip(POINTS, twisted, strict=True):
        assert np.allclose(rotation(2, before[2]) @ before, after, atol=1e-6)
    waved = deformed(POINTS, Deformation(wave=(0.1,), wavelength=0.5, phase=(0.25,)), 0.9)
    assert np.allclose(waved[:, 0] - POINTS[:, 0], 0.1 * np.cos(4 * np.pi * POINTS[:, 2]), atol=1e-6)
    assert np.allclose(waved[:, 1:], POINTS[:, 1:])


def test_a_bend_turns_each_height_by_its_own_angle_and_keeps_the_axis_as_long():
    how, size = Deformation(bend=Swing(size=1.5, turns=1.0)), 1.5 * np.sin(2 * np.pi * 0.1)
    axis = np.linspace(-0.5, 0.5, 1001)[:, None] * [[0.0, 0.0, 1.0]]
    arc = deformed(axis, how, 0.1)
    steps = np.diff(arc, axis=0)
    assert np.allclose(np.linalg.norm(steps, axis=1), 0.001, rtol=1e-6)
    middle = (axis[1:, 2] + axis[:-1, 2]) / 2
    assert np.allclose(np.arctan2(steps[:, 0], steps[:, 2]), size * middle)
    # What lies beside the axis goes with it: as far away, at a right angle.
    beside = deformed(axis + np.array([0.1, 0.2, 0.0]), how, 0.1) - arc
    assert np.allclose(np.linalg.norm(beside, axis=1), np.hypot(0.1, 0.2))
    assert np.allclose(np.einsum("nd,nd->n", beside[1:], steps), 0, atol=1e-5)
    assert np.allclose(deformed(POINTS, Deformation(bend=(1e-9,)), 0.0), POINTS, atol=1e-6)


def test_a_deformation_along_another_axis_is_the_same_seen_from_there():
    parts = {"bend": (1.2,), "twist": (0.7,), "wave": (0.1,)}
    upright = deformed(POINTS, Deformation(**parts), 0.0)
    for shift, axis in ((1, "x"), (2, "y")):
        turned = deformed(np.roll(POINTS, shift, axis=1), Deformation(**parts, axis=axis), 0.0)
        assert np.allclose(turned, np.roll(upright, shift, axis=1))
        long = POINTS * [0.5, 0.5, 1.0]
        longest = deformed(np.roll(long, shift, axis=1), Deformation(**parts, axis="longest"), 0.0, np.arange(7))
        assert np.allclose(longest, np.roll(deformed(long, Deformation(**parts), 0.0), shift, axis=1)[:7])


def test_a_cloth_goes_straight_from_frame_to_frame_and_beyond():
    shapes = rng_for("cloth").normal(size=(4, 50, 3)).astype(np.float32)
    for t in range(4):
        assert np.array_equal(shown(shapes, t / 3), shapes[t]) and shown(shapes, t / 3).dtype == np.float64
    for at, (one, other, share) in {0.25: (0, 1, 0.25), 2.5: (2, 3, 0.5), -0.5: (0, 1, -0.5), 3.5: (2, 3, 1.5)}.items():
        wanted = (1 - share) * shapes[one].astype(float) + share * shapes[other]
        assert np.allclose(shown(shapes, at / 3), wanted, atol=1e-9)
        assert np.array_equal(shown(shapes, at / 3, np.array([3, 1])), shown(shapes, at / 3)[[3, 1]])


def test_a_swing_goes_to_and_fro_between_its_ends():
    swing = Swing(mean=1.0, size=0.5, turns=3.0, phase=0.25)
    values = [course(swing, u) for u in np.linspace(0, 1, 601)]
    assert (min(values), max(values)) == (pytest.approx(0.5), pytest.approx(1.5))
    assert np.count_nonzero(np.diff(np.sign(np.diff(values)))) == 5
    assert course((1.0, 2.0), 0.25) == 1.5


def test_the_misfit_is_what_no_turn_and_move_undo():
    turned = POINTS @ Rotation.from_rotvec([1.0, 2.0, -0.4]).as_matrix().T + [3.0, 2.0, 1.0]
    assert misfit(POINTS, turned) < 1e-6
    mirrored = POINTS * [1.0, 1.0, -1.0]
    assert misfit(POINTS, mirrored) > 0.5
    assert misfit(POINTS, 1.1 * turned) == pytest.approx(0.1, abs=1e-6)


def jointed():
    """A mesh whose vertices hang on five joints, two of them on one, and an object that turns them all."""
    rng = rng_for("joints")
    skin = rng.dirichlet([0.3] * 5, 60)
    skeleton = Skeleton(rng.uniform(-1, 1, (5, 3)), np.array([-1, 0, 1, 1, 3]), skin)
    mesh = prepare_mesh("a test", rng.uniform(-1, 1, (60, 3)), rng.permutation(60).reshape(20, 3), skeleton=skeleton)
    joints = tuple(
        JointMotion(joint=joint, axis=tuple(rng.normal(size=3)), angle=Swing(size=1.0, turns=1.0 + joint))
        for joint in (0, 1, 1, 2, 3, 4)
    )
    still = BakedMotion(poses=(np.eye(4).tolist(),))
    return mesh, ObjectSpec(mesh="0" * 32, category="a test", motion=still, joints=joints)


def test_joints_carry_what_hangs_on_them():
    mesh, item = jointed()
    bent = item.model_copy(update={"deformation": Deformation(bend=(1.0,), axis="longest")})
    for u in (0.0, 0.13, 0.8):
        # Only the joints move before the bend, which sees the mesh as they leave it.
        assert np.allclose(shaped(item, mesh, u), shape(item, mesh, u), atol=1e-6)
        assert np.allclose(shaped(bent, mesh, u), shape(bent, mesh, u), atol=1e-6)
        assert np.allclose(shaped(bent, mesh, u, np.array([7, 3])), shaped(bent, mesh, u)[[7, 3]])
    assert np.allclose(shaped(item, mesh, 0.0), mesh.vertices, atol=1e-6)
    assert misfit(mesh.vertices, shaped(item, mesh, 0.13)) > 0.1


def test_joints_that_a_mesh_does_not_have_are_named():
    mesh, item = jointed()
    plain = prepare_mesh("a test", mesh.vertices, mesh.faces)
    for of in (plain, mesh):
        far = item.model_copy(update={"joints": (item.joints[0].model_copy(update={"joint": 5}),)})
        with pytest.raises(VOSForgeError, match="give it a mesh with a skeleton"):
            shaped(far, of, 0.5)
