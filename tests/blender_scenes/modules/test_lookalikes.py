import numpy as np

from blender_scenes.modules.marks import amounts_of


def test_look_alikes_come_in_the_numbers_that_are_set(drawn):
    numbers, labelled = [], 0
    for scene in drawn("lookalikes", count=300):
        told = amounts_of(scene, "lookalikes") or {"number": 0, "labelled": 0}
        copies = [item for item in (*scene.objects, *scene.distractors) if amounts_of(item, "lookalikes")]
        assert len(copies) == told["number"]
        if copies:
            original = scene.objects[told["original"] - 1]
            looks = {(item.mesh, item.texture, item.material) for item in copies}
            assert looks == {(original.mesh, original.texture, original.material)}
            assert len({item.motion.location for item in copies}) == len(copies)
        numbers.append(len(copies))
        labelled += told["labelled"]
    counts = np.array(numbers)
    assert abs((counts == 0).mean() - 0.4) < 0.08
    assert abs(((counts > 0) & (counts < 4)).mean() - 0.4) < 0.08
    assert counts.max() > 10
    assert 0.1 < labelled / counts.sum() < 0.4  # where there are enough objects


def test_all_or_none_may_be_labelled(drawn):
    for scene in drawn("lookalikes", lookalikes={"labelled": 0.0, "none": 0.0}):
        assert scene.distractors and not any(amounts_of(item, "lookalikes") for item in scene.objects)
    for scene in drawn("lookalikes", lookalikes={"labelled": 1.0, "none": 0.0, "few": 1.0, "few_numbers": (1, 1)}):
        assert bool(scene.distractors) == (len(scene.objects) == 1)
