import numpy as np

from blender_scenes.modules.marks import amounts_of
from tests.blender_scenes.modules.labels import labels_of, occlusion


def test_what_is_hidden_follows_what_was_drawn(drawn):
    wanted, with_occluders, without = [], [], []
    for on, off in zip(drawn("sizes", "paths", "occluders"), drawn("sizes", "paths"), strict=True):
        told = [(amounts_of(item, "occluders") or {"hidden": 0.0})["hidden"] for item in on.objects]
        one, other = occlusion(labels_of(on)), occlusion(labels_of(off))
        both = np.isfinite(one) & np.isfinite(other)
        wanted += list(np.array(told)[both])
        with_occluders += list(one[both])
        without += list(other[both])
    wanted, with_occluders, without = map(np.array, (wanted, with_occluders, without))
    assert with_occluders.mean() > without.mean() + 0.05
    heavy, free = wanted > 0.6, wanted == 0
    assert with_occluders[heavy].mean() > 0.5 > with_occluders[free].mean() + 0.15
    assert np.corrcoef(wanted, with_occluders)[0, 1] > 0.4
