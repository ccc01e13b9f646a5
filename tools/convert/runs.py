"""COCO's compressed run lengths, as ``pycocotools.mask.encode`` makes them."""

import numpy as np


def encode_runs(mask: np.ndarray) -> str:
    """A bool mask ``[H, W]`` as text.

    The runs go down the columns and begin with one of zeros, which may be empty. From the fourth on, a run is written
    as its difference to the one two before it: five bits a character, the lowest first; the sixth says that more
    follow, and 48 is added to make it printable.
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begin = [0, 0] if flat[0] else [0]
    runs = np.diff(np.concatenate([begin, changes, [flat.size]])).astype(np.int64)
    left = runs.copy()
    left[3:] -= runs[1:-2]
    unfinished = np.ones(len(left), bool)
    characters, written = [], []
    while unfinished.any():
        digit = left & 0x1F
        left >>= 5
        more = unfinished & (left != np.where(digit & 0x10, -1, 0))  # the fifth bit of the last digit is the sign
        characters.append(np.where(more, digit | 0x20, digit) + 48)
        written.append(unfinished)
        unfinished = more
    return np.stack(characters, 1)[np.stack(written, 1)].astype(np.uint8).tobytes().decode()
