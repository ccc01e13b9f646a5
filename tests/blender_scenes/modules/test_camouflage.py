import numpy as np
import pytest

from blender_scenes.modules.marks import amounts_of
from blender_scenes.modules.view import View


def test_some_objects_wear_the_texture_of_their_background(drawn):
    worn = []
    for scene in drawn("camouflage", count=150):
        plane = scene.backdrop or scene.ground
        for item in scene.objects:
            hides = amounts_of(item, "camouflage") is not None
            assert not hides or item.texture == plane.texture
            worn.append(hides)
    assert 0.06 < np.mean(worn) < 0.15


def test_they_wear_what_is_behind_them_as_large_as_it_is_there(drawn):
    """Rays through the corners of an object's box, halfway through the video, meet the backdrop in its patch."""
    checked = 0
    for scene in drawn("camouflage", camouflage={"share": 1.0}):
        plane, view = scene.backdrop, View(scene)
        if plane is None:
            continue
        middle = view.moments // 2
        camera = np.linalg.inv(view.to_camera[middle])[:3, 3]
        for item in scene.objects:
            if item.patch is None:
                continue
            half = 0.3 * view.scales(item)[middle].mean() * np.array([1.0, 0.0, 1.0])
            centre = view.world(view.places(item))[middle]
            farther = (plane.offset - camera[1]) / (centre[1] - camera[1])
            low, high = (
                ((camera + farther * (centre + sign * half - camera))[[0, 2]] / plane.size + 0.5) * plane.repeat
                for sign in (-1, 1)
            )
            assert item.patch.side == pytest.approx(high[0] - low[0]) == pytest.approx(high[1] - low[1])
            if np.array_equal(np.floor(low), np.floor(high)):  # within one copy of the image; every second is mirrored
                corner = np.minimum(*(1 - np.abs(1 - end % 2) for end in (low, high)))
                assert (item.patch.left, item.patch.bottom) == pytest.approx(tuple(corner), abs=1e-6)
                checked += 1
    assert checked > 5
