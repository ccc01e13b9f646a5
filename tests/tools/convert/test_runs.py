"""COCO's run lengths against a decoder of our own, read off their description, and against pycocotools."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.convert.runs import encode_runs


def decode_runs(text: str, height: int, width: int) -> np.ndarray:
    """The slow obvious twin: one character at a time."""
    runs: list[int] = []
    value = place = 0
    for character in text:
        digit = ord(character) - 48
        value |= (digit & 31) << (5 * place)
        place += 1
        if not digit & 32:
            if digit & 16:
                value -= 1 << (5 * place)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = place = 0
    flat = [bit for n, run in enumerate(runs) for bit in [n % 2] * run]
    assert len(flat) == height * width
    return np.array(flat, bool).reshape(width, height).T


MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.booleans())


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_our_own_decoder_gives_the_mask_back(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_runs(encode_runs(mask), *mask.shape), mask)


@pytest.mark.parametrize("value", [True, False])
def test_full_and_empty_masks_and_long_runs(value: bool) -> None:
    mask = np.full((700, 900), value)
    np.testing.assert_array_equal(decode_runs(encode_runs(mask), 700, 900), mask)
    mask[300:302, 5] = mask[1, 800] = not value
    np.testing.assert_array_equal(decode_runs(encode_runs(mask), 700, 900), mask)


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_pycocotools_makes_the_same_text(mask: np.ndarray) -> None:
    tools = pytest.importorskip("pycocotools.mask")
    theirs = tools.encode(np.asfortranarray(mask, np.uint8))
    assert theirs["counts"].decode() == encode_runs(mask)
