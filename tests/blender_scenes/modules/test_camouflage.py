import numpy as np

from blender_scenes.modules.marks import amounts_of


def test_some_objects_wear_the_texture_of_their_background(drawn):
    worn = []
    for scene in drawn("camouflage", count=150):
        plane = scene.backdrop or scene.ground
        for item in scene.objects:
            hides = amounts_of(item, "camouflage") is not None
            assert not hides or item.texture == plane.texture
            worn.append(hides)
    assert 0.06 < np.mean(worn) < 0.15
