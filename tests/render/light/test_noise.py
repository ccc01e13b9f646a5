"""Where frames are rendered with more samples."""

import numpy as np
import pytest

from render.light.noise import noisy_parts
from render.light.regions import CELL
from tests.render.light.test_regions import painted
from vosforge.videos.codec import Region

WHOLE = [Region(0, 0, 61, 90)]


def frame(noise, rng, light=0.3, opacity=1.0):
    """A frame ``[61, 90]`` under an even light, but for ``noise [61, 90]``, and what its random colours reflect."""
    colors = rng.uniform(0.1, 0.9, (61, 90, 3)).astype(np.float32)
    cover = np.full((61, 90, 1), opacity, np.float32)
    bright = light * (1 + noise * rng.normal(0, 1, (61, 90)))[:, :, None] * colors
    return [np.concatenate([each * cover, cover], axis=2).astype(np.float32) for each in (bright, colors)]


def test_noise_is_found_where_it_is_and_colours_are_none():
    rng = np.random.default_rng(0)
    noise = np.zeros((61, 90))
    assert noisy_parts(*frame(noise, rng), WHOLE, 1.0, 0.5) == []
    noise[20:44, 30:50] = 0.4
    found = painted(noisy_parts(*frame(noise, rng), WHOLE, 1.0, 10.0), 61, 90)
    assert found.max() == 1 and found[20:44, 30:50].all()
    reach = CELL + 2  # to the end of a cell, and to what is compared with noisy neighbours
    found[20 - reach : 44 + reach, 30 - reach : 50 + reach] = 0
    assert not found.any()


def test_parts_lie_in_the_regions_and_reach_their_edges():
    regions = [Region(0, 0, 16, 40), Region(24, 8, 61, 90)]
    parts = noisy_parts(*frame(np.full((61, 90), 0.4), np.random.default_rng(1)), regions, 1.0, 5.0)
    assert np.array_equal(painted(parts, 61, 90), painted(regions, 61, 90))


def test_noise_counts_as_it_is_seen():
    many = painted(noisy_parts(*frame(np.full((61, 90), 0.1), np.random.default_rng(2)), WHOLE, 1.0, 2.0), 61, 90)
    for change in ({"light": 0.003}, {"light": 50.0}, {"opacity": 0.0}):  # it is dark, it is white, it is not there
        one = frame(np.full((61, 90), 0.1), np.random.default_rng(2), **change)
        assert noisy_parts(*one, WHOLE, 1.0, 2.0) == [], change
    assert many.all()
    dark = frame(np.full((61, 90), 0.1), np.random.default_rng(2), light=0.003)
    assert painted(noisy_parts(*dark, WHOLE, 100.0, 2.0), 61, 90).all(), "until its exposure makes it bright"


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (8, 8)])
def test_small_frames_have_parts_of_their_size(size):
    height, width = size
    rng = np.random.default_rng(3)
    combined, colors = (each[:height, :width] for each in frame(np.full((61, 90), 5.0), rng))
    parts = noisy_parts(combined, colors, [Region(0, 0, height, width)], 1.0, 1.0)
    assert parts == ([] if size == (1, 1) else [Region(0, 0, height, width)])
