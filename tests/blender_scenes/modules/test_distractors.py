from blender_scenes.modules.marks import amounts_of


def test_distractors_join_and_are_never_more_than_twenty(drawn):
    numbers = []
    for scene in drawn("distractors", count=100):
        told = amounts_of(scene, "distractors") or {"number": 0}
        assert len(scene.distractors) == min(told["number"], 20)
        numbers.append(len(scene.distractors))
    assert 0.2 < numbers.count(0) / len(numbers) < 0.4
    assert 1.4 < sum(numbers) / len(numbers) < 2.8
    for scene in drawn("lookalikes", "distractors", distractors={"share": 1.0, "mean": 40.0}):
        assert len(scene.distractors) <= 20
