"""The scenes renders are measured on: moments of drawn videos, found by how much of the frame their objects cover.

Nothing is arranged: the videos are the presets' own draws, and each moment is the one nearest a wanted coverage.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial

from assets.catalog import Catalog
from assets.store import AssetStore
from blender_scenes.object_spec import BakedMotion, Course, Curve, CurveMotion, ObjectSpec, Swing
from blender_scenes.spec import CameraSpec, LookAtMotion, RenderSettings, SceneSpec
from render.farm.prepare import build_catalog
from render.farm.process import BlenderProcess
from render.qualities import QUALITIES
from tools.commands.scenes import draw_scenes, preset_config
from vosforge.errors import VOSForgeError
from vosforge.log import console
from vosforge.videos import ShardSet

VIDEO_FRAMES = 160
"""How long the videos are that stretches are cut from: BL30K's length, by which curves get their speed."""
INSTANTS = 11
"""At how many moments of a video the coverage is looked at."""
SCENES_FILE = "scenes.jsonl"


class Group(NamedTuple):
    """Scenes of one kind: whose draws they are, what their objects cover, and how many are taken."""

    name: str
    preset: str
    coverage: float
    scenes: int = 2


GROUPS = (
    Group("10 %", "bl30k", 0.10),
    Group("20 %", "bl30k", 0.20),
    Group("40 %", "bl30k", 0.40),
    Group("surroundings", "basic", 0.20),
)


class BenchScene(NamedTuple):
    """One scene: its group, its name, the coverage it was chosen for, and a spec of a few frames at real speed."""

    group: str
    name: str
    coverage: float
    spec: SceneSpec


def stretch(spec: SceneSpec, start: int, frames: int) -> SceneSpec:
    """Frames ``start`` to ``start + frames`` of the video of ``spec`` as a video of its own, pose for pose.

    Its curves are the same polynomials over the part of u in [0, 1] that is left.
    """
    if spec.rain is not None:
        raise VOSForgeError("a stretch of a video with rain cannot be cut out: its drops are those of the whole video")
    last = spec.render.frames - 1
    part = Polynomial([start / last, (frames - 1) / last])
    objects, distractors = (
        tuple(_object(item, part, start, frames) for item in items) for items in (spec.objects, spec.distractors)
    )
    changes = {
        "objects": objects,
        "distractors": distractors,
        "camera": _camera(spec.camera, part, start, frames),
        "render": spec.render.model_copy(update={"frames": frames}),
    }
    return SceneSpec.model_validate(spec.model_copy(update=changes).model_dump())


def _object(item: ObjectSpec, part: Polynomial, start: int, frames: int) -> ObjectSpec:
    changes: dict[str, object] = {}
    if item.cloth is not None:
        raise VOSForgeError("a stretch of a video with cloth cannot be cut out: it starts in the middle of its motion")
    if isinstance(item.motion, CurveMotion):
        motion = item.motion
        location, rotation, scale = (_curve(curve, part) for curve in (motion.location, motion.rotation, motion.scale))
        changes["motion"] = CurveMotion(location=location, rotation=rotation, scale=scale)
    elif isinstance(item.motion, BakedMotion):
        changes["motion"] = BakedMotion(poses=item.motion.poses[start : start + frames])
    else:
        raise VOSForgeError("a stretch of a video with physics cannot be cut out: it starts in the middle of a fall")
    if item.deformation is not None:
        courses = ("twist", "wave", "phase", "bend")
        moved = {name: _course(getattr(item.deformation, name), part) for name in courses}
        changes["deformation"] = item.deformation.model_copy(update=moved)
    changes["joints"] = tuple(turn.model_copy(update={"angle": _course(turn.angle, part)}) for turn in item.joints)
    changes["morphs"] = tuple(key.model_copy(update={"weight": _course(key.weight, part)}) for key in item.morphs)
    return item.model_copy(update=changes)


def _camera(camera: CameraSpec, part: Polynomial, start: int, frames: int) -> CameraSpec:
    if camera.cuts:
        raise VOSForgeError("a stretch of a video with cuts is not one shot: take scenes without cuts")
    motion: LookAtMotion | BakedMotion
    if isinstance(camera.motion, LookAtMotion):
        motion = LookAtMotion(
            location=_curve(camera.motion.location, part), look_at=_curve(camera.motion.look_at, part)
        )
    else:
        motion = BakedMotion(poses=camera.motion.poses[start : start + frames])
    lens = camera.lens and camera.lens.model_copy(update={"focus": _polynomial(camera.lens.focus, part)})
    return camera.model_copy(update={"motion": motion, "lens": lens})


def _curve(curve: Curve, part: Polynomial) -> Curve:
    x, y, z = (_polynomial(axis, part) for axis in curve.axes)
    return Curve(axes=(x, y, z))


def _course(course: Course, part: Polynomial) -> Course:
    if not isinstance(course, Swing):
        return _polynomial(course, part)
    start, speed = part.coef
    return course.model_copy(update={"turns": course.turns * speed, "phase": course.phase + course.turns * start})


def _polynomial(coefficients: tuple[float, ...], part: Polynomial) -> tuple[float, ...]:
    return tuple(Polynomial(coefficients)(part).coef.tolist()) if len(coefficients) > 1 else coefficients


def open_catalog(folder: Path, models: str, store: AssetStore) -> Catalog:
    """The assets the scenes of ``folder`` are drawn from: those of last time, or prepared now and kept there."""
    path = folder / "catalog.jsonl"
    if not path.exists():
        settings = preset_config("bl30k", 1, 0, {"assets.models": models}).assets
        catalog = build_catalog(settings, 0, store)
        folder.mkdir(parents=True, exist_ok=True)
        catalog.save(path)
    return Catalog.load(path)


def open_scenes(
    folder: Path, store: AssetStore, catalog: Catalog, *, draws: int, size: tuple[int, int], frames: int
) -> list[BenchScene]:
    """The scenes of ``folder``: those chosen last time, or chosen now from ``draws`` videos of each preset.

    ``size``: width and height. The same arguments always choose the same scenes.
    """
    path = folder / SCENES_FILE
    if not path.exists():
        scenes = _chosen(folder, store, catalog, draws, frames)
        lines = (json.dumps({**item._asdict(), "spec": item.spec.model_dump(mode="json")}) for item in scenes)
        path.write_text("".join(f"{line}\n" for line in lines))
    held = (json.loads(line) for line in path.read_text().splitlines())
    scenes = [BenchScene(**{**item, "spec": SceneSpec.model_validate(item["spec"])}) for item in held]
    width, height = size
    return [item._replace(spec=with_settings(item.spec, width=width, height=height)) for item in scenes]


def _chosen(folder: Path, store: AssetStore, catalog: Catalog, draws: int, frames: int) -> list[BenchScene]:
    """For each group the moments nearest its coverage, no two of one video."""
    found: dict[str, list[tuple[SceneSpec, np.ndarray]]] = {}
    with BlenderProcess(folder / "blender.log") as blender:
        for preset in dict.fromkeys(group.preset for group in GROUPS):
            found[preset] = []
            for spec in _drawn(preset, draws, catalog):
                found[preset].append((spec, _coverage(blender, spec, store, folder)))
    used: set[tuple[str, int]] = set()
    scenes = []
    for group in GROUPS:
        moments = [
            (abs(float(covered) - group.coverage), spec.index, at, float(covered), spec)
            for spec, coverage in found[group.preset]
            for at, covered in enumerate(coverage)
            if 0 < at < INSTANTS - 1
        ]
        number = 0
        for _, index, at, covered, spec in sorted(moments, key=lambda moment: moment[:3]):
            if number == group.scenes:
                break
            if (group.preset, index) in used:
                continue
            used.add((group.preset, index))
            number += 1
            start = round(at / (INSTANTS - 1) * (VIDEO_FRAMES - 1)) - frames // 2
            name = f"{group.name.replace(' ', '').replace('%', 'pc')}-{number}"
            scenes.append(BenchScene(group.name, name, round(covered, 4), stretch(spec, start, frames)))
            console.print(f"{name}: {group.preset}, video {index}, from frame {start}, {covered:.1%} covered")
    return scenes


def _drawn(preset: str, draws: int, catalog: Catalog) -> Iterator[SceneSpec]:
    """The preset's draws; of ``basic`` those with a ground and an HDRI all around."""
    config = preset_config(preset, draws, 0, {"render.frames": VIDEO_FRAMES, "held_out_every": 0})
    return (spec for spec in draw_scenes(config, catalog) if preset != "basic" or spec.ground is not None)


def _coverage(blender: BlenderProcess, spec: SceneSpec, store: AssetStore, folder: Path) -> np.ndarray:
    """The share of the frame that objects cover at each of ``INSTANTS`` moments of the video, ``[INSTANTS]``."""
    changes = {"width": 96, "height": 64, "frames": INSTANTS, **QUALITIES["labels"]}
    small = with_settings(spec, **changes)
    staged = folder / "coverage.h5"
    list(blender.run(render_job(small, store, folder, staged)))
    masks = ShardSet(staged).video(spec.video_id).masks()
    staged.unlink()
    return (masks > 0).mean(axis=(1, 2))


def render_job(spec: SceneSpec, store: AssetStore, folder: Path, staged: Path) -> dict[str, object]:
    """What a Blender process of the product is sent to render ``spec`` and stage it."""
    return {
        "do": "render",
        "spec": spec.model_dump_json(),
        "store": str(store.root.resolve()),
        "catalog": str((folder / "catalog.jsonl").resolve()),
        "staged": str(staged.resolve()),
        "gates": False,
        "renderer": None,
    }


def with_settings(spec: SceneSpec, **settings: object) -> SceneSpec:
    """The spec with other render settings."""
    render = RenderSettings.model_validate({**spec.render.model_dump(), **settings})
    return spec.model_copy(update={"render": render})
