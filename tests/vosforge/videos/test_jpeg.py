"""JPEGs whose numbers are worth their bits: that they are chosen best, coded right, and what it is good for."""

import io
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vosforge.videos.codec import decode, encode
from vosforge.videos.jpeg import END, MAX_BITS, ZEROS, canonical, choose, code_lengths


def cost(values, numbers, steps, price, bits):
    """What a choice of numbers for a block costs, read from the standard: Y's table, in the order of storage."""
    total, run = float(np.square(values - numbers * steps)[1:].sum()), 0
    for number in numbers[1:]:
        if number == 0:
            run += 1
            continue
        length = int(abs(number)).bit_length()
        total += price * (run // 16 * bits[ZEROS] + bits[run % 16 * 16 + length] + length)
        run = 0
    return total + (price * bits[END] if run else 0.0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_other_numbers_cost_less(data):
    """Than those chosen, of all that round a value up or down or to zero."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    steps = rng.uniform(0.8, 1.25, 64) * data.draw(st.floats(1, 50))
    price = np.log(4) / 12 * np.exp(2 * np.log(steps).mean())
    bits = rng.integers(1, MAX_BITS + 1, 256)
    values = (rng.normal(0, 0.2, 64) * steps).astype(np.float32)
    some = rng.choice(np.arange(1, 64), 6, replace=False)
    values[some] = (rng.uniform(-4.5, 4.5, 6) * steps[some]).astype(np.float32)
    numbers = np.zeros((3, 1, 1, 64), np.int16)
    planes = np.repeat(values[None, None, None], 3, axis=0)
    choose(planes, np.stack([steps, steps]), np.array([price, price]), np.stack([bits, bits]), numbers)
    chosen = numbers[0, 0, 0]
    assert np.array_equal(chosen, numbers[1, 0, 0])

    ways = []
    for place in range(1, 64):
        exact = abs(values[place]) / steps[place]
        nearest = int(exact + 0.5)
        sizes = {nearest, 0}
        if nearest > exact:
            sizes.add(nearest - 1)
        if nearest > 0:
            ways.append([(place, int(np.sign(values[place])) * size) for size in sizes])
    least = min(cost(values, numbers_with(way), steps, price, bits) for way in itertools.product(*ways))
    assert cost(values, chosen, steps, price, bits) == pytest.approx(least, rel=1e-5)


def numbers_with(way):
    numbers = np.zeros(64, np.int64)
    for place, number in way:
        numbers[place] = number
    return numbers


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=256, max_size=256))
def test_codes_can_be_told_apart_and_none_is_all_ones(counts):
    lengths = code_lengths(np.array(counts))
    codes = [f"{code:0{length}b}" for code, length in zip(canonical(lengths), lengths, strict=True) if length]
    assert len(codes) == np.count_nonzero(counts)
    assert all(1 <= len(code) <= MAX_BITS and "0" in code for code in codes)
    ordered = sorted(codes)
    assert not any(later.startswith(code) for code, later in itertools.pairwise(ordered))


def test_what_is_frequent_has_short_codes_and_none_is_too_long():
    counts = np.zeros(256, np.int64)
    counts[:40] = [2 ** min(n, 40) for n in range(40)]  # left alone, the rarest would get 40 bits
    lengths = code_lengths(counts)
    assert lengths[:40].max() == MAX_BITS and lengths[39] == 1
    assert np.all(np.diff(lengths[:40]) <= 0)
    even = code_lengths(np.repeat([5, 0], [63, 193]))
    assert np.all(even[:63] == 6) and np.all(even[63:] == 0)


def rendered_like(seed: int) -> np.ndarray:
    """Flat shapes with fine texture before something smooth, uint8 ``[192, 256, 3]``."""
    rng = np.random.default_rng(seed)
    frame = cv2.resize(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8), (256, 192), interpolation=cv2.INTER_CUBIC)
    texture = cv2.GaussianBlur(rng.normal(0, 90, (192, 256, 3)), (0, 0), 1.2)
    for _ in range(6):
        points = rng.integers(0, 256, (3, 2)).astype(np.int32)
        inside = cv2.fillPoly(np.zeros((192, 256), np.uint8), [points], 1) > 0
        frame[inside] = np.clip(rng.integers(40, 200, 3) + texture[inside], 0, 255)
    return frame


@pytest.mark.parametrize("seed", range(3))
def test_they_are_smaller_than_libjpegs_of_no_less_error(seed):
    frame = rendered_like(seed)

    def error(data):
        return float(np.square(decode(data, frame.shape[:2]).astype(float) - frame).mean())

    ours = encode(frame, "jpeg", 95)
    for quality in range(80, 100):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
        if error(file.getvalue()) <= error(ours):
            break
    assert len(ours) < 0.9 * len(file.getvalue())


def test_more_quality_is_more_bytes_and_less_error():
    frame = rendered_like(3)
    coded = [encode(frame, "jpeg", quality) for quality in (1, 10, 30, 50, 75, 90, 95, 100)]
    errors = [np.square(decode(data, (192, 256)).astype(float) - frame).mean() for data in coded]
    assert [len(data) for data in coded] == sorted(len(data) for data in coded)
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.6


def test_the_same_frame_gives_the_same_bytes():
    frame = rendered_like(4)
    assert encode(frame, "jpeg", 95) == encode(np.asfortranarray(frame), "jpeg", 95)
