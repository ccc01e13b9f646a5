"""Videos without colours: real renders whose labels are held against those of the same scenes with colours."""

import h5py
import numpy as np
import pytest

from blender_scenes.object_spec import BakedMotion, Deformation
from blender_scenes.sample import PRESETS, SceneConfig, sample_scene
from blender_scenes.spec import AtmosphereSpec, LensSpec, RainSpec, RenderSettings
from blender_scenes.trajectories import camera_poses, object_poses
from render.farm.events import Done
from render.farm.process import BlenderProcess
from tests.render.blender.test_engine import job
from tests.render.conftest import MIRROR
from tests.render.labels.test_masks import hard_scene
from vosforge import InputError
from vosforge.videos import ShardSet
from vosforge.videos.verify import find_problem

pytestmark = pytest.mark.blender

SETTINGS = RenderSettings(width=96, height=64, frames=3, samples=2)
PASSES = ("depth", "flow", "normal", "amodal", "tracks")


@pytest.fixture(scope="module")
def blender(tmp_path_factory):
    with BlenderProcess(tmp_path_factory.mktemp("log") / "blender.log") as process:
        yield process


def with_render(spec, **changes):
    return spec.model_copy(update={"render": spec.render.model_copy(update=changes)})


def still(spec):
    """The spec with nothing in it that moves."""
    first = (0,) * SETTINGS.frames
    items = [
        item.model_copy(update={"motion": BakedMotion(poses=object_poses(item, SETTINGS.frames)[(first,)].tolist())})
        for item in spec.objects
    ]
    poses = np.linalg.inv(camera_poses(spec.camera, SETTINGS.frames))[(first,)].tolist()
    camera = spec.camera.model_copy(update={"motion": BakedMotion(poses=poses)})
    return spec.model_copy(update={"objects": tuple(items), "camera": camera})


@pytest.fixture(scope="module")
def scenes(store, catalog):
    """Scenes of all surroundings, with all that is hard to label."""
    config = SceneConfig(objects=(3, 4))
    drawn = [sample_scene(config, SETTINGS, catalog, seed=2, index=n, split="train") for n in range(12)]
    kinds = {(spec.backdrop is not None, spec.ground is not None): spec for spec in drawn}
    assert len(kinds) == 3
    plain = drawn[0]
    bent = plain.objects[0].model_copy(update={"deformation": Deformation(twist=(0.0, 3.0), wave=(0.1, 0.8))})
    blurred = {"lens": LensSpec(f_number=0.3, focus=(2.0,)), "shutter": 0.8}
    rainy = plain.model_copy(update={"rain": RainSpec(intensity=50.0, brightness=12.0)})
    hard = hard_scene(12, store, catalog)
    hard = hard.model_copy(update={"render": SETTINGS, "distractors": hard.objects[:1], "objects": hard.objects[1:]})
    hard = hard.model_copy(update={"camera": hard.camera.model_copy(update=blurred)})
    rich = plain.model_copy(update={"objects": (bent, *plain.objects[1:-1]), "distractors": plain.objects[-1:]})
    return {
        **{f"surroundings {number}": spec for number, spec in enumerate(kinds.values())},
        **{
            f"bl30k {number}": sample_scene(PRESETS["bl30k"], SETTINGS, catalog, seed=3, index=number, split="train")
            for number in range(3)
        },
        "still": still(plain),
        "hazy": plain.model_copy(update={"atmosphere": AtmosphereSpec(density=0.1, color=(1, 1, 1))}),
        "rainy": rainy,
        "rainy, passes": with_render(rainy, passes=PASSES, tracks=40),
        "holes, glass, lens, shutter": hard,
        "holes, glass, lens, shutter, passes": with_render(hard, passes=PASSES, tracks=40),
        "bent, distracted": rich,
        "bent, distracted, passes": with_render(rich, passes=PASSES, tracks=40),
        "mirrored, passes": with_render(plain, passes=PASSES, tracks=40).model_copy(update={"mirrors": (MIRROR,)}),
    }


NAMES = (
    *(f"surroundings {number}" for number in range(3)),
    *(f"bl30k {number}" for number in range(3)),
    "still",
    "hazy",
    "rainy",
    "rainy, passes",
    *(f"holes, glass, lens, shutter{more}" for more in ("", ", passes")),
    *(f"bent, distracted{more}" for more in ("", ", passes")),
    "mirrored, passes",
)


def rendered(blender, spec, store, catalog, folder):
    events = list(blender.run(job(spec, store, catalog, folder) | {"gates": False}))
    assert isinstance(events[-1], Done), events[-1]
    return ShardSet(folder / f"{spec.video_id}.h5").video(spec.video_id)


def content(video):
    """All data sets of a video but its colours, by name."""
    found = {}

    def add(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith("rgb"):
            found[name] = item[()]

    video.group.visititems(add)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_passes_are_those_of_the_same_scene_with_colours(name, blender, scenes, store, catalog, tmp_path):
    spec = scenes[name]
    coloured = rendered(blender, spec, store, catalog, tmp_path / "coloured")
    bare = rendered(blender, with_render(spec, colors=False), store, catalog, tmp_path / "bare")
    assert bare.masks().any()
    expected, found = content(coloured), content(bare)
    assert found.keys() == expected.keys() and bare.passes == spec.render.passes
    for each in expected:
        assert found[each].dtype == expected[each].dtype, each
        equal = found[each].tobytes() == expected[each].tobytes()
        assert equal, f"{each} of {name}: {(found[each] != expected[each]).sum()} values differ"
    assert not bare.has_colors and "rgb" not in bare.group
    assert find_problem(bare.path, bare.row) is None
    with pytest.raises(InputError, match=r"has masks but no colours: render it with render\.colors=true"):
        bare.frame(0)


def test_nothing_stays_behind_for_the_next_video(blender, scenes, store, catalog, tmp_path):
    """Colours after labels, and labels after colours, are as in a process of their own."""
    specs = [scenes["hazy"], scenes["holes, glass, lens, shutter"], scenes["bl30k 0"]]
    order = [spec for spec in specs for spec in (spec, with_render(spec, colors=False))] * 2
    seen = {}
    for number, spec in enumerate(order):
        path = rendered(blender, spec, store, catalog, tmp_path / str(number)).path
        kind = spec.model_dump_json()
        assert seen.setdefault(kind, path.read_bytes()) == path.read_bytes()
    with BlenderProcess(tmp_path / "other.log", threads=2) as other:
        for spec in order[1:6:2]:
            path = rendered(other, spec, store, catalog, tmp_path / "elsewhere").path
            assert seen[spec.model_dump_json()] == path.read_bytes()


def test_no_setting_of_light_bears_on_labels(blender, scenes, store, catalog, tmp_path):
    spec = scenes["surroundings 0"]
    some, others = (
        rendered(blender, with_render(spec, colors=False, **changes), store, catalog, tmp_path / str(number))
        for number, changes in enumerate(({}, {"samples": 64, "denoise": True, "max_bounces": 8, "encoding": "png"}))
    )
    assert np.array_equal(some.masks(), others.masks())


def test_rain_changes_colours_and_no_label(blender, scenes, store, catalog, tmp_path):
    for name in ("rainy", "rainy, passes"):
        dry = scenes[name].model_copy(update={"rain": None})
        on, off = (rendered(blender, each, store, catalog, tmp_path / str(each.rain)) for each in (scenes[name], dry))
        expected, found = content(off), content(on)
        assert found.keys() == expected.keys() and on.passes == off.passes
        for item, values in expected.items():
            np.testing.assert_array_equal(found[item], values, err_msg=item)
        assert all((on.frame(t) != off.frame(t)).any() for t in range(dry.render.frames))
