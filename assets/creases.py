"""Shading without stored normals: vertices are duplicated along creases in the file's normals."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Two faces are shaded as one smooth surface where the file's normals at their common edge differ less than this.
SAME_NORMAL = np.cos(np.radians(1.5))


def split_creases(faces: NDArray[np.int64], normals: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Duplicate vertices along creases, so that smooth shading reproduces the file's flat and round parts.

    faces: [F,3] vertex indices; normals: [F,3,3] unit normals at their corners. Returns owner [N], the old vertex of
    each new one, and the new faces [F,3]. Corners of a vertex stay together where they meet along an edge at whose
    both ends the normals agree.
    """
    corner = np.arange(faces.size).reshape(faces.shape)
    start, end = corner, np.roll(corner, -1, axis=1)
    flat, normal = faces.ravel(), normals.reshape(-1, 3)
    swapped = flat[start] > flat[end]
    low, high = np.where(swapped, end, start).ravel(), np.where(swapped, start, end).ravel()
    order = np.lexsort((flat[high], flat[low]))
    low, high = low[order], high[order]
    same_edge = (flat[low[1:]] == flat[low[:-1]]) & (flat[high[1:]] == flat[high[:-1]])
    agree = np.ones(len(same_edge), bool)
    for side in (low, high):
        agree &= (normal[side[1:]] * normal[side[:-1]]).sum(axis=1) > SAME_NORMAL
    joined = same_edge & agree
    first = np.concatenate([low[:-1][joined], high[:-1][joined]])
    second = np.concatenate([low[1:][joined], high[1:][joined]])
    ties = coo_array((np.ones(len(first), bool), (first, second)), shape=(faces.size, faces.size))
    count, group = connected_components(ties, directed=False)
    least = np.empty(count, np.int64)
    least[group[::-1]] = np.arange(faces.size)[::-1]  # of the corners of a group, the first is written last
    kept, new = np.unique(least[group], return_inverse=True)
    return flat[kept], new.reshape(faces.shape)
