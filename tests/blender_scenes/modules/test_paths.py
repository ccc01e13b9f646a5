import numpy as np

from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules.marks import amounts_of
from tests.blender_scenes.modules.labels import absences, labels_of


def test_who_is_to_leave_leaves_and_mostly_returns(drawn):
    wanted, found, returning, returned = [], [], [], []
    for scene in drawn("sizes", "paths", paths={"behind": 0.0}):
        absent, returns = absences(labels_of(scene))
        for k, item in enumerate(scene.objects):
            told = amounts_of(item, "paths")
            wanted.append(told["absent"])
            found.append(absent[k])
            if told["absent"] and absent[k]:
                returning.append(told["returns"])
                returned.append(returns[k])
    wanted, found = np.array(wanted), np.array(found)
    assert 0.25 < wanted.mean() < 0.6
    assert found[wanted].mean() > 0.85 and found[~wanted].mean() < 0.25
    assert np.mean(np.array(returning) == np.array(returned)) > 0.75


def test_objects_move_at_the_speed_that_was_drawn(drawn):
    drawn_speeds, speeds = [], []
    for scene in drawn("paths", paths={"absent": 0.0}):
        geometry = SceneGeometry(scene, {})
        for number, item in enumerate(scene.objects, start=1):
            places = np.stack([geometry.pose(number, t)[:3, 3] for t in range(geometry.frames)])
            pixels = places[:, :2] / places[:, 2:] * geometry.K[0, 0, 0] * 480 / geometry.size[0]
            speeds.append(np.linalg.norm(np.diff(pixels, axis=0), axis=1).mean())
            drawn_speeds.append(amounts_of(item, "paths")["speed"])
    ratio = np.array(speeds) / np.array(drawn_speeds)
    assert abs(np.median(ratio) - 1) < 0.05 and np.quantile(ratio, 0.05) > 0.7 and np.quantile(ratio, 0.95) < 1.3


def test_a_distractor_hides_what_is_to_hide(drawn):
    hidden = []
    small, all_hide = {"small": 0.9, "tiny": 0.1}, {"absent": 1.0, "behind": 1.0, "hidden_radius": 1.0}
    for scene in drawn("sizes", "paths", sizes=small, paths=all_hide):
        absent, _ = absences(labels_of(scene))
        told = [amounts_of(item, "paths").get("behind", False) for item in scene.objects]
        assert len(scene.distractors) == sum(told)
        hidden += list(absent[told])
    assert np.mean(hidden) > 0.6
