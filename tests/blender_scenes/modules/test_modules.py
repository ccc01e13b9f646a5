"""What holds for every module: it draws by itself, and says what it drew."""

import json

import pytest

from blender_scenes.modules import Modules
from blender_scenes.modules.cloth import Cloth
from blender_scenes.modules.marks import amounts_of
from blender_scenes.presets import preset_of
from blender_scenes.sample import PRESETS, sample_scene
from blender_scenes.spec import RenderSettings, SceneSpec
from vosforge import InputError
from vosforge.config import read_config

RENDER = RenderSettings(width=384, height=256, frames=24)
ALL = PRESETS["diverse"].modules.model_copy(update={"cloth": Cloth()})


def draw(catalog, modules, index, preset="diverse"):
    config = PRESETS[preset].model_copy(update={"modules": modules})
    return sample_scene(config, RENDER, catalog, seed=4, index=index, split="train")


def drawn_by(scene, module, but=()):
    """What a module drew for the scene and for each of its objects (not for distractors, which may be more)."""
    items = (scene, *(item for k, item in enumerate(scene.objects) if k not in but))
    return [[trait for trait in item.traits if trait.module == module] for item in items]


@pytest.mark.parametrize("name", Modules.model_fields)
def test_a_module_leaves_all_other_draws_as_they_were(paper_catalog, name):
    without = ALL.model_copy(update={name: None})
    for index in range(6):
        on, off = draw(paper_catalog, ALL, index), draw(paper_catalog, without, index)
        assert len(on.objects) == len(off.objects)
        # The size of a look-alike follows from the original's.
        but = [k for k, item in enumerate(on.objects) if name == "lookalikes" and amounts_of(item, name)]
        for other in Modules.model_fields:
            if other != name:
                assert drawn_by(on, other, but) == drawn_by(off, other, but)


@pytest.mark.parametrize("name", Modules.model_fields)
def test_a_module_alone_does_something_and_says_so(paper_catalog, name):
    alone = Modules.model_validate({name: getattr(ALL, name)})
    changed = 0
    for index in range(100):  # rare ones change few scenes
        if index >= 8 and changed:
            break
        on, off = draw(paper_catalog, alone, index), draw(paper_catalog, Modules(), index)
        assert {trait.module for trait in on.all_traits} <= {name}
        assert bool(on.all_traits) == (on != off)
        changed += on != off
    assert changed > 0


def test_scenes_with_all_modules_survive_json_and_depend_on_their_keys_only(paper_catalog):
    for index in range(10):
        scene = draw(paper_catalog, ALL, index)
        assert SceneSpec.model_validate_json(scene.model_dump_json()) == scene == draw(paper_catalog, ALL, index)


def test_stored_forms_hold_nothing_new_without_modules(paper_catalog):
    scene = draw(paper_catalog, Modules(), 0, "basic")
    stored = json.loads(scene.model_dump_json())
    assert "traits" not in stored and all("traits" not in item for item in stored["objects"])
    for name in ("basic", "bl30k", "clips"):
        stored = json.loads(PRESETS[name].model_dump_json())
        assert not {"modules", "gate_limits", "median_objects", "extends"} & stored.keys()


def test_a_users_preset_extends_another_in_a_few_lines(tmp_path):
    path = tmp_path / "crowded.yaml"
    path.write_text("extends: diverse\nobjects: [4, 12]\ngate_limits: {max_empty: 0.2}\n")
    config = preset_of(str(path))
    changes = {"preset": "crowded", "extends": "diverse", "objects": (4, 12)}
    limits = PRESETS["diverse"].gate_limits.model_copy(update={"max_empty": 0.2})
    assert config == PRESETS["diverse"].model_copy(update=changes | {"gate_limits": limits})
    path.write_text("extends: diverse\ngate_limits: {max_emty: 0.2}\n")
    with pytest.raises(InputError, match="did you mean 'max_empty'"):
        preset_of(str(path))
    path.write_text("extends: divers\n")
    with pytest.raises(InputError, match="unknown preset 'divers'"):
        preset_of(str(path))


def test_a_setting_of_a_module_is_one_word_on_the_command_line():
    with pytest.raises(InputError, match=r"unknown key 'modules\.lokalikes'"):
        read_config(type(PRESETS["basic"]), None, {"modules.lokalikes.share": 0.4}, PRESETS["basic"])
