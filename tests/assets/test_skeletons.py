"""Bones become joints: what carries nothing is dropped, and whatever hangs together stays so."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from assets.skeletons import MAX_JOINTS, skeleton_of
from vosforge.errors import InputError


def joints(parents, weights, still=None):
    """The skeleton of bones at (0, 0, 0), (1, 0, 0) and so on."""
    weights = np.array(weights, float)
    places = np.arange(len(parents))[:, None] * [[1.0, 0.0, 0.0]]
    still = np.zeros(len(weights), bool) if still is None else np.array(still)
    return skeleton_of(places, np.array(parents), csr_array(weights), still)


def test_bones_without_vertices_below_them_are_dropped():
    # 0 holds nothing but 1; 3 is an end; 4 holds nothing itself, but 5 hangs on it; 6 is a first bone of its own.
    found = joints([-1, 0, 1, 2, 1, 4, -1], [[0, 2, 0, 0, 0, 0, 0], [0, 1, 3, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0.1, 0]])
    assert found.places[:, 0].tolist() == [1, 2, 4, 5]
    assert found.parents.tolist() == [-1, 0, 0, 2]
    np.testing.assert_allclose(found.skin, [[1, 0, 0, 0], [0.25, 0.75, 0, 0], [0, 0, 0, 1]])


def test_what_holds_nothing_but_several_stays_the_first_joint():
    found = joints([-1, 0, 1, 1], [[0, 0, 1, 0], [0, 0, 0, 1]])
    assert (found.places[:, 0].tolist(), found.parents.tolist()) == ([1, 2, 3], [-1, 0, 0])


@pytest.mark.parametrize("still", [[False, False, False], [False, False, True]])
def test_an_anchor_holds_first_bones_and_what_hangs_on_none(still):
    rows = [[1, 0], [0, 1], [0 if still[2] else 1, 0]]
    found = joints([-1, -1], rows, still)
    assert (found.places[:, 0].tolist(), found.parents.tolist()) == ([0.5, 0, 1], [-1, 0, 0])
    assert found.skin[2].tolist() == ([1, 0, 0] if still[2] else [0, 1, 0])
    np.testing.assert_array_equal(found.skin.sum(axis=1), 1)


def test_one_bone_is_no_skeleton_and_nor_is_none():
    assert joints([-1, 0], [[1, 0], [1, 0]]) is None
    assert joints([-1, 0], [[0, 1], [0, 1]]) is None
    assert joints([-1, 0], [[0, 0], [0, 0]], [True, True]) is None


def test_what_cannot_be_held_is_refused():
    with pytest.raises(InputError, match="some of its vertices have no bone: it stays rigid"):
        joints([-1, 0], [[1, 0], [0, 0]])
    many = MAX_JOINTS + 1
    chain = np.arange(many) - 1
    with pytest.raises(InputError, match=f"{many} bones move its {many} vertices"):
        joints(chain, np.eye(many))
    assert len(joints(chain[1:] - 1, np.eye(many - 1)).places) == MAX_JOINTS
    with pytest.raises(InputError, match="too many"):
        count = 9_000_000 // 100
        one = csr_array((np.ones(count), (np.arange(count), np.arange(count) % 100)), shape=(count, 100))
        skeleton_of(np.zeros((100, 3)), chain[:100], one, np.zeros(count, bool))
