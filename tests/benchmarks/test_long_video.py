"""The benchmark of long videos: what it measures, of a short one."""

import numpy as np
import pytest

from benchmarks.long_video import PASSES, DrawnFrames, Held, measure, network_named, slope, table
from mivos_models import STCN
from vosforge import InputError


@pytest.mark.parametrize("name", PASSES)
def test_a_short_video_is_measured(name: str) -> None:
    frames = DrawnFrames(9, 48, 64)
    held = measure(PASSES[name], frames, network_named("STCN(18, 0.125)"))
    passed = range(1, 10) if name == "propagate" else range(1, 9)
    assert [each.frames for each in held] == [*passed, 9]
    assert table(name, held, 4).row_count == (4 if name == "propagate" else 3)


def test_frames_are_drawn_alike_wherever_they_are_read() -> None:
    frames = DrawnFrames(500, 48, 64)
    for t in (0, 17, 333, 499):
        assert np.array_equal(frames[t], frames[t]) and frames[t].shape == (48, 64, 3)
        assert frames.mask(t).sum() == 16 * 16
    assert not np.array_equal(frames[0], frames[1])


def test_networks_are_named() -> None:
    assert isinstance(network_named("STCN(18, 0.125)"), STCN)
    for wrong in ("STCN", "InteractiveRunner()", "Nothing()", "STCN(", "STCN(width=2)(3)"):
        with pytest.raises(InputError, match="constructs no propagation network"):
            network_named(wrong)


def test_the_slope_is_that_of_the_second_half() -> None:
    grown = [Held(t, t, 1000 * min(t, 10) + 3 * t, 5 * t) for t in range(1, 41)]
    np.testing.assert_allclose(slope([*grown, Held(41, 41, 10**6, 10**6)]), (3, 5))
