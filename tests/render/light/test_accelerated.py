"""The door to all that is faster than plain Cycles: what comes through it is what plain Cycles renders."""

import json

import cv2
import numpy as np
import pytest

from blender_scenes.geometry import SceneGeometry
from blender_scenes.modules import Modules
from blender_scenes.modules.cloth import Cloth
from blender_scenes.object_spec import Curve, Deformation, Patch
from blender_scenes.sample import PRESETS, SceneConfig, sample_scene
from blender_scenes.spec import Cut, LensSpec, LookAtMotion, RenderSettings
from render.farm.events import Done
from render.farm.process import BlenderProcess
from render.light.accelerated import accelerated
from tests.render.blender.test_engine import job
from tests.render.conftest import MIRROR, cut_out
from vosforge.videos import ShardSet

SETTINGS = RenderSettings(width=96, height=64, frames=2, samples=64, encoding="png", passes=("depth", "amodal"))
KINDS = (
    "before a backdrop",
    "on a ground",
    "with holes",
    "through a lens",
    "zooming before one",
    "zooming on one",
    "a cut before one",
    "a cut on one",
)
ASIDE = Cut(
    frame=1,
    motion=LookAtMotion(location=Curve(axes=((2.5,), (-4.0,), (1.0,))), look_at=Curve(axes=((0.0,), (2.0,), (0.0,)))),
)
"""To a camera that looks from the right and above, and closer."""
CLOTHS = ("cloth before a backdrop", "cloth on a ground")


def with_render(spec, **changes):
    return spec.model_copy(update={"render": spec.render.model_copy(update=changes)})


@pytest.fixture(scope="module")
def scenes(store, catalog):
    """One for each way that light takes, with a bent object in each."""
    drawn = [
        sample_scene(SceneConfig(objects=(3, 4)), SETTINGS, catalog, seed=2, index=n, split="train") for n in range(12)
    ]
    before_backdrop = sample_scene(PRESETS["bl30k"], SETTINGS, catalog, seed=3, index=1, split="train")
    on_ground = next(spec for spec in drawn if spec.ground is not None)
    material, mesh = cut_out(store, catalog)
    looks = {"mesh": mesh, "material": material, "texture": None}
    holes = (before_backdrop.objects[0].model_copy(update=looks), *before_backdrop.objects[1:])
    lens = on_ground.camera.model_copy(update={"lens": LensSpec(f_number=1.0, focus=(5.0,))})
    kinds = (
        before_backdrop,
        on_ground,
        before_backdrop.model_copy(update={"objects": holes}),
        on_ground.model_copy(update={"camera": lens}),
        *(
            spec.model_copy(update={"camera": spec.camera.model_copy(update={"zoom": (-0.2, 0.5)})})
            for spec in (before_backdrop, on_ground)
        ),
        *(
            spec.model_copy(update={"camera": spec.camera.model_copy(update={"cuts": (ASIDE,)})})
            for spec in (before_backdrop, on_ground)
        ),
    )
    bend = {"deformation": Deformation(twist=(0.0, 2.0))}
    return {
        name: spec.model_copy(update={"objects": (*spec.objects[:-1], spec.objects[-1].model_copy(update=bend))})
        for name, spec in zip(KINDS, kinds, strict=True)
    }


@pytest.fixture(scope="module")
def cloths(catalog):
    """A scene with cloth before a glowing backdrop, and one on a ground below an HDRI."""
    hanging = Modules(cloth=Cloth(share=1.0, sheet=0.0))  # below a sheet there is a ground
    configs = (
        PRESETS["bl30k"].model_copy(update={"modules": hanging}),
        SceneConfig(objects=(3, 4), backdrop=0.0, ground=1.0, modules=Modules(cloth=Cloth(share=1.0))),
    )
    drawn = (sample_scene(config, SETTINGS, catalog, seed=2, index=1, split="train") for config in configs)
    return dict(zip(CLOTHS, drawn, strict=True))


@pytest.fixture(scope="module")
def blender(tmp_path_factory):
    with BlenderProcess(tmp_path_factory.mktemp("log") / "blender.log") as process:
        yield process


def rendered(blender, spec, store, catalog, folder):
    events = list(blender.run(job(spec, store, catalog, folder) | {"gates": False}))
    assert isinstance(events[-1], Done), events[-1]
    return ShardSet(folder / f"{spec.video_id}.h5").video(spec.video_id)


def labels(video):
    return {name: video.group[name][()] for name in ("mask", "depth", "amodal", "objects/visibility")}


@pytest.mark.blender
@pytest.mark.parametrize("kind", (*KINDS, *CLOTHS))
def test_frames_and_labels_are_those_of_plain_cycles(blender, scenes, cloths, store, catalog, tmp_path, kind):
    spec = (scenes | cloths)[kind]
    fast, plain = (
        rendered(blender, with_render(spec, plain=plain), store, catalog, tmp_path / str(plain))
        for plain in (False, True)
    )
    assert fast.masks().any()
    for name, values in labels(fast).items():
        assert values.tobytes() == labels(plain)[name].tobytes(), name
    difference = fast.frames().astype(float) - plain.frames()
    assert abs(difference.mean()) < 0.5 and difference.std() < 6.0  # 64 samples leave noise
    for frame in difference:
        blocks = cv2.resize(frame, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
        assert np.abs(blocks).max() < 10.0
    if kind == "through a lens":
        assert not difference.any(), "there is no faster way"
    else:
        assert difference.any(), "the fast way was taken"


@pytest.mark.blender
def test_what_deforms_is_no_noisier_than_what_does_not(blender, scenes, store, catalog, tmp_path):
    """Textures are laid on both without noise, as their shape is in each frame."""
    texture = catalog.of_kind("texture")[0].hash
    spec = scenes["on a ground"]
    patch = Patch(left=0.3, bottom=0.55, side=0.4)
    worn = {"texture": texture, "wrap": "box", "patch": patch, "material": None, "deformation": None}
    items = [item.model_copy(update=worn) for item in spec.objects]
    bent = [item.model_copy(update={"deformation": Deformation(bend=(0.3, 1.0))}) for item in items]
    off_by = []
    for name, objects in (("rigid", items), ("bent", bent)):
        changed = spec.model_copy(update={"objects": tuple(objects)})
        seen, truth = (
            rendered(
                blender, with_render(changed, samples=samples, plain=plain), store, catalog, tmp_path / f"{name}{plain}"
            )
            for samples, plain in ((2, False), (64, True))
        )
        at = truth.masks() > 0
        off_by.append(np.abs(seen.frames().astype(float) - truth.frames())[at].mean())
    assert off_by[0] < 12 and off_by[1] < 1.3 * off_by[0]


@pytest.mark.blender
def test_masks_alone_are_those_of_plain_cycles(blender, scenes, store, catalog, tmp_path):
    mirrored = scenes["on a ground"].model_copy(update={"mirrors": (MIRROR,)})
    for n, spec in enumerate((*scenes.values(), mirrored)):
        fast, plain = (
            labels(
                rendered(
                    blender, with_render(spec, colors=False, plain=plain), store, catalog, tmp_path / f"{n}{plain}"
                )
            )
            for plain in (False, True)
        )
        for name, values in fast.items():
            assert values.tobytes() == plain[name].tobytes(), name


def test_the_door_is_shut_where_a_scene_says_so_and_where_nothing_is_faster(scenes, store):
    def way(spec):
        geometry, hdri = SceneGeometry.load(spec, store), np.ones((4, 8, 3), np.float32)
        return accelerated(
            geometry,
            store,
            lambda: hdri,
            lambda number: (None, np.zeros((len(geometry.mesh(number).faces), 3, 3))),
        )

    backdrop, ground, _, lens, *zooming = scenes.values()
    for spec in (backdrop, ground, *zooming):
        assert way(spec).lays_background and way(spec).splits_light
        assert way(with_render(spec, plain=True)) is None
        assert way(with_render(spec, lay_backdrop=False)) is None
        bare = way(with_render(spec, colors=False))
        assert not bare.lays_background and not bare.splits_light
        assert way(with_render(spec, colors=False, plain=True)) is None
    whole = way(with_render(backdrop, denoise_light=False))
    assert whole.lays_background and not whole.splits_light
    assert way(lens) is None
    for spec in (backdrop, ground):
        mirrored = spec.model_copy(update={"mirrors": (MIRROR,)})
        assert way(mirrored) is None and way(with_render(mirrored, colors=False)) is not None


def test_specs_hold_the_switch_only_where_it_is_thrown(scenes):
    spec = scenes["on a ground"]
    assert "plain" not in json.loads(spec.model_dump_json())["render"]
    shut = with_render(spec, plain=True)
    for each in (spec, shut):
        assert type(spec).model_validate_json(each.model_dump_json()) == each
    assert shut.render.plain and shut != spec
