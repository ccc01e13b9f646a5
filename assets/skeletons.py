"""From the bones of a model, any number with any weights, to the joints of a prepared mesh."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from assets.prepared import Skeleton
from vosforge.errors import InputError

MAX_JOINTS = 128
MAX_SHARES = 8_000_000
"""Vertices times joints: what a mesh holds, and what each frame multiplies."""


def skeleton_of(
    places: NDArray[np.float64], parents: NDArray[np.int64], weights: csr_array, still: NDArray[np.bool_]
) -> Skeleton | None:
    """The joints of N bones at ``places [N,3]``, whose ``parents [N]`` (-1: none) precede them; None if none can turn.

    weights: [V,N], of any sum, from any number of bones; ``still [V]`` vertices hang on none, as a pedestal does.
    Bones that carry nothing are left out. The first joint has all others below it: it is the first bone, or, where
    there are still vertices or several first bones, an anchor between those. Raises InputError for what joints cannot
    hold: vertices without weights, too many bones.
    """
    sums = weights.sum(axis=1)
    if (~still & (sums <= 0)).any():
        raise InputError("some of its vertices have no bone: it stays rigid; give all of them weights to move it")
    kept = _carrying(parents, weights.sum(axis=0) > 0)
    number = np.full(len(parents) + 1, -1)  # the last is that of no parent
    number[kept] = np.arange(len(kept))
    above = number[parents[kept]]
    skin = weights[:, kept] / np.where(still, 1.0, sums)[:, None]
    joints, firsts = places[kept], np.flatnonzero(above < 0)
    anchored = len(kept) > 0 and (len(firsts) > 1 or bool(still.any()))
    if anchored:
        above = np.concatenate([[-1], above + 1])
        joints = np.concatenate([joints[firsts].mean(axis=0, keepdims=True), joints])
    if len(joints) < 2:
        return None
    if len(joints) > MAX_JOINTS or len(joints) * len(sums) > MAX_SHARES:
        raise InputError(
            f"{len(joints)} bones move its {len(sums)} vertices: it stays rigid; "
            f"more than {MAX_JOINTS} bones, or {MAX_SHARES:,} of bones times vertices, are too many"
        )
    shares = skin.toarray()
    if anchored:
        shares = np.column_stack([still.astype(np.float64), shares])
    return Skeleton(joints, above, shares)


def _carrying(parents: NDArray[np.int64], weighted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The bones that have vertices below them, without the first ones of a chain that have none of their own."""
    carries = weighted.copy()
    for bone in range(len(parents) - 1, -1, -1):
        if carries[bone] and parents[bone] >= 0:
            carries[parents[bone]] = True
    below = np.bincount(parents[carries & (parents >= 0)], minlength=len(parents))
    for bone, parent in enumerate(parents):
        if (parent < 0 or not carries[parent]) and not weighted[bone] and below[bone] < 2:
            carries[bone] = False
    return np.flatnonzero(carries)
