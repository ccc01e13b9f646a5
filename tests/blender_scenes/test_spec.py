"""What a scene is, for good: stored specs load, the schema says what they hold, and bad ones are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from blender_scenes.spec import SceneSpec

STORED = Path(__file__).parent / "scene-v1.json"
SCHEMA = Path(__file__).parents[2] / "docs" / "scene-spec.schema.json"


def with_cuts(*frames: int, poses: int = 3) -> dict[str, object]:
    """The stored scene's camera with cuts at ``frames`` to cameras that are baked in so many poses."""
    baked = {"kind": "baked", "poses": [np.eye(4).tolist()] * poses}
    return {**json.loads(STORED.read_text())["camera"], "cuts": [{"frame": t, "motion": baked} for t in frames]}


def test_a_spec_stored_when_the_format_began_loads_and_says_the_same() -> None:
    """Never write this file again: fields that are added later need defaults."""
    stored = json.loads(STORED.read_text())
    spec = SceneSpec.model_validate(stored)
    assert len(spec.objects) == 2 and len(spec.distractors) == 1 and spec.format_version == 1
    again = json.loads(spec.model_dump_json())

    def assert_kept(old: object, new: object) -> None:
        if isinstance(old, dict):
            assert isinstance(new, dict)
            for key, value in old.items():
                assert_kept(value, new[key])
        elif isinstance(old, list):
            assert isinstance(new, list) and len(old) == len(new)
            for one, other in zip(old, new, strict=True):
                assert_kept(one, other)
        else:
            assert old == new

    assert_kept(stored, again)


def test_the_schema_in_the_documentation_is_the_specs() -> None:
    assert json.loads(SCHEMA.read_text()) == SceneSpec.model_json_schema(), (
        "write it again: vosforge scenes schema > docs/scene-spec.schema.json"
    )


def test_specs_hold_cuts_only_where_there_are_any() -> None:
    stored = json.loads(STORED.read_text())
    assert "cuts" not in json.loads(SceneSpec.model_validate(stored).model_dump_json())["camera"]
    spec = SceneSpec.model_validate({**stored, "camera": with_cuts(1, 2)})
    assert SceneSpec.model_validate_json(spec.model_dump_json()) == spec
    assert [cut.frame for cut in spec.camera.cuts] == [1, 2]


def test_all_assets_of_a_scene_are_known() -> None:
    stored = STORED.read_text()
    spec = SceneSpec.model_validate_json(stored)
    assert spec.assets
    assert all(content in stored for content in spec.assets)
    assert {item.mesh for item in (*spec.objects, *spec.distractors)} < spec.assets


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format_version": 2}, "1"),
        ({"seeds": 3}, "Extra inputs"),
        ({"objects": []}, "at least 1 item"),
        ({"render": {"width": 96, "height": 64, "frames": 7}}, "baked motion has 3 poses for 7 frames"),
        ({"exposure": float("nan")}, "finite"),
        ({"camera": with_cuts(2, 1)}, r"cuts are at frames \[2, 1\]: give them in order"),
        ({"camera": with_cuts(1, 1)}, "one a frame"),
        ({"camera": with_cuts(3)}, "a cut is at frame 3, but the last frame is 2"),
        ({"camera": with_cuts(0)}, "greater than or equal to 1"),
        ({"camera": with_cuts(1, poses=2)}, "baked motion has 2 poses for 3 frames"),
    ],
)
def test_bad_specs_are_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SceneSpec.model_validate({**json.loads(STORED.read_text()), **change})


def test_an_objects_look_is_replaced_once_only() -> None:
    stored = json.loads(STORED.read_text())
    stored["objects"][1]["texture"] = "0" * 32
    with pytest.raises(ValidationError, match="not by both"):
        SceneSpec.model_validate(stored)


def test_a_spec_cannot_be_changed() -> None:
    spec = SceneSpec.model_validate_json(STORED.read_text())
    with pytest.raises(ValidationError, match="frozen"):
        spec.exposure = 1.0  # type: ignore[misc]
