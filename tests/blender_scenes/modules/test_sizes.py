import numpy as np

from blender_scenes.modules.marks import amounts_of
from blender_scenes.trajectories import evaluate
from tests.blender_scenes.modules.labels import labels_of, scale_changes


def test_objects_are_as_large_as_drawn_and_grow_or_shrink(drawn):
    ratios, masks, grown, changes = [], [], [], []
    for scene in drawn("sizes"):
        labels = labels_of(scene)
        told = [amounts_of(item, "sizes") for item in scene.objects]
        areas = np.exp(np.log(np.maximum(labels.amodal, 0.5)).mean(axis=0)) / (labels.size[0] * labels.size[1])
        ratios += [area / amounts["share"] for area, amounts in zip(areas, told, strict=True)]
        masks += list(labels.share[labels.visible > 0])
        always = (labels.visible > 0).all(axis=0)
        changes += list(scale_changes(labels)[always])
        grown += [abs(amounts["doublings"]) for amounts, seen in zip(told, always, strict=True) if seen]
    assert 0.6 < np.median(ratios) < 1.5
    assert np.quantile(ratios, 0.1) > 0.2 and np.quantile(ratios, 0.9) < 3
    assert 0.15 < np.mean(np.array(masks) < 0.01) < 0.55
    assert 0.2 < np.mean(np.array(changes) > 1) < 0.55
    assert np.corrcoef(grown, changes)[0, 1] > 0.7


def test_thin_objects_are_thin(drawn):
    for scene in drawn("sizes", sizes={"thin": 1.0}, count=5):
        for item in scene.objects:
            scale = np.sort(evaluate(item.motion.scale, 24), axis=1)
            assert (scale[:, 0] / scale[:, 2] < 0.21).all()
