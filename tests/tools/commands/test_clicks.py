"""Clicks typed on the command line become discs on their frames, or one sentence."""

import re

import numpy as np
import pytest

from mivos_models.runner.scribbles import disk
from tools.commands.clicks import RADIUS, read_clicks
from vosforge import InputError

T, H, W = 4, 48, 64


def test_a_click_is_a_disc_at_its_column_and_row() -> None:
    drawn = read_clicks(["2, 50, 20"], T, H, W)
    assert list(drawn) == [2]
    assert np.array_equal(drawn[2], disk(50, 20, RADIUS, 1, H, W))
    assert drawn[2][20, 50] == 1 and drawn[2][20, 50 + RADIUS + 1] == -1


def test_clicks_of_one_frame_are_drawn_together_and_frames_are_in_order() -> None:
    drawn = read_clicks(["3,10,10,2", "0,63,47", "3,40,40,0", "3,12,10,7"], T, H, W)
    assert list(drawn) == [0, 3]
    assert drawn[0][47, 63] == 1
    assert (drawn[3][10, 6], drawn[3][10, 12], drawn[3][40, 40], drawn[3][30, 30]) == (2, 7, 0, -1)


@pytest.mark.parametrize(
    ("clicks", "reason"),
    [
        (["1,2"], "cannot read the click '1,2': write FRAME,X,Y"),
        (["1,2,3,4,5"], "cannot read the click '1,2,3,4,5'"),
        (["0,1.5,3"], "cannot read the click '0,1.5,3'"),
        (["a,1,3"], "cannot read the click 'a,1,3'"),
        ([""], "cannot read the click ''"),
        (["0,10,10", f"0,{'9' * 5000},1"], "cannot read the click"),
        (["4,10,10"], "the click '4,10,10' is on frame 4: click on one of the video's frames, 0..3"),
        (["-1,10,10"], "is on frame -1"),
        (["0,64,10"], "the click '0,64,10' is outside the 64×48 frame: X is 0..63, Y is 0..47"),
        (["0,10,48"], "is outside the 64×48 frame"),
        (["0,10,-1"], "is outside the 64×48 frame"),
        (["0,10,10,255"], "marks object 255: masks hold the objects 1..254"),
        (["0,10,10,-1"], "marks object -1"),
        (["0,10,10,0", "1,10,10,0"], "the clicks mark only background: click on an object too"),
    ],
)
def test_a_wrong_click_is_told_with_what_is_wrong(clicks: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        read_clicks(clicks, T, H, W)
