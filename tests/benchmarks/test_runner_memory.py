"""The benchmark of the runner's memory: what it measures, of a short video."""

import numpy as np

from benchmarks.runner_memory import Held, drawn, measure, slope


def test_a_short_video_is_measured(tmp_path) -> None:
    video, mask = drawn(9, 48, 64, tmp_path / "video")
    assert video.shape == (9, 48, 64, 3) and mask.any() and video.any(axis=(1, 2, 3)).all()
    held = measure(video, mask, width=0.125, every=4)
    assert [each.frames for each in held] == [*range(1, 9), 9]


def test_the_slope_is_that_of_the_second_half() -> None:
    grown = [Held(t, 1000 * min(t, 10) + 3 * t, 5 * t) for t in range(1, 41)]
    np.testing.assert_allclose(slope([*grown, Held(41, 10**6, 10**6)]), (3, 5))
