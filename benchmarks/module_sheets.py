"""Contact sheets of the modules: 20 draws of the preset ``basic`` with one module each, and 20 of ``diverse``.

    python -m benchmarks.module_sheets [--out docs/modules] [--only light rooms] [--assets procedural] [--seed 1]

A module is on in every draw, and the n-th draws of all sheets begin with the same scene. What moves is drawn for 24
frames and shown in three of them: the first, the middle and the last.
"""

import argparse
import io
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image

from assets.catalog import Catalog
from assets.store import AssetStore
from benchmarks.scenes import open_catalog, render_job
from blender_scenes.spec import SceneSpec
from blender_scenes.strides import fewer_cuts
from render.farm.events import Done
from render.farm.process import BlenderProcess
from render.qualities import quality_settings
from tools.commands.scenes import draw_scenes, preset_config
from tools.inspect.overlay import contact_sheet
from vosforge.errors import InputError, VOSForgeError
from vosforge.files import sealed_file
from vosforge.log import console
from vosforge.videos import ShardSet

DRAWS = 20
DRAWN_FRAMES = 24
LARGEST_FILE = 100_000
"""Bytes of a sheet; JPEG's quality is lowered until it fits."""


class Sheet(NamedTuple):
    """What the draws of a sheet have: settings of the modules that are on, by name, and of the base scene."""

    modules: dict[str, dict[str, object]]
    base: Mapping[str, object] = MappingProxyType({})
    moves: bool = False
    """Whether three frames of each draw are shown, instead of one."""


IN_ROOMS: dict[str, dict[str, object]] = {"rooms": {"share": 1.0, "ordinary": 0.8}}
FAST: dict[str, dict[str, object]] = {"paths": {"median": 18.0, "fast": 0.45, "absent": 0.0}}
SHEETS = {
    "light": Sheet({"light": {"sun": 0.3, "panels": 0.3, "colored": 0.2, "night": 0.2}}),
    "weather": Sheet({"weather": {"fog": 1.0}}),
    "exposure": Sheet({"exposure": {"drift": 1.0}}, moves=True),
    "rooms": Sheet(IN_ROOMS),
    "camera": Sheet({"camera": {"pan": 0.5, "push": 1.0}}, moves=True),
    "shapes": Sheet({"shapes": {"share": 1.0, "carved": 1.0}}),
    "articulation": Sheet({"articulation": {"share": 1.0}}, moves=True),
    "deformation": Sheet({"deformation": {"share": 1.0}}, moves=True),
    "lookalikes": Sheet({"lookalikes": {"none": 0.0, "few": 0.5}}),
    "distractors": Sheet({"distractors": {"share": 1.0}}),
    "sizes": Sheet({"sizes": {"change": 1.0}}, moves=True),
    "paths": Sheet({"paths": {"absent": 1.0}}, moves=True),
    "camouflage": Sheet({"camouflage": {"share": 1.0}}, {"scene.backdrop": 1.0}),
    "occluders": Sheet({"occluders": {"free": 0.0}}, moves=True),
    "contact": Sheet(IN_ROOMS | {"contact": {"share": 1.0, "bend": 1.0}}),
    "physics": Sheet({"physics": {"share": 1.0, "objects": 1.0}}, moves=True),
    "cuts": Sheet({"cuts": {"share": 1.0}}, moves=True),
    "mirrors": Sheet({"rooms": {"share": 0.5, "ordinary": 0.8}, "contact": {}, "mirrors": {"share": 1.0}}),
    "cloth": Sheet({"cloth": {"share": 1.0}}, moves=True),
    "blur": Sheet(FAST | {"blur": {"share": 1.0, "length": (20.0, 40.0)}}),
    "rain": Sheet({"rain": {"share": 1.0, "intensity": (40.0, 100.0), "brightness": (20.0, 40.0)}}),
}
"""By the module they show; ``diverse`` is one more. Shake is too little to be seen in three frames."""


def drawn(name: str, seed: int, catalog: Catalog) -> Iterator[SceneSpec]:
    """The scenes of a sheet, with as many frames as are rendered of each."""
    sheet = SHEETS.get(name, Sheet({}))
    width, height = (144, 96) if sheet.moves else (192, 128)
    settings = quality_settings("fast") | dict(sheet.base)
    settings |= {"render.width": width, "render.height": height, "render.frames": DRAWN_FRAMES, "held_out_every": 0}
    if name in SHEETS:
        settings["scene.modules"] = sheet.modules
    config = preset_config("basic" if name in SHEETS else name, DRAWS, seed, settings)
    return (thinned(spec, 3 if sheet.moves else 2) for spec in draw_scenes(config, catalog))


def thinned(spec: SceneSpec, frames: int) -> SceneSpec:
    """The same video in fewer frames, the first and the last among them."""
    rate = (frames - 1) / (spec.render.frames - 1)
    changes: dict[str, object] = {
        "render": spec.render.model_copy(update={"frames": frames}),
        "camera": spec.camera.model_copy(
            update={
                "shutter": spec.camera.shutter * rate,
                "cuts": fewer_cuts(spec.camera, spec.render.frames, frames),
            }
        ),
    }
    changes["objects"] = tuple(
        item.model_copy(update={"cloth": item.cloth and item.cloth.model_copy(update={"rate": item.cloth.rate * rate})})
        for item in spec.objects
    )
    if spec.physics is not None:
        changes["physics"] = spec.physics.model_copy(update={"rate": spec.physics.rate * rate})
    if spec.rain is not None:
        changes["rain"] = spec.rain.model_copy(update={"rate": spec.rain.rate * rate})
    return spec.model_copy(update=changes)


def rendered(blender: BlenderProcess, spec: SceneSpec, store: AssetStore, folder: Path) -> list[np.ndarray]:
    """The frames of a scene, uint8 ``[H, W, 3]`` each."""
    staged = folder / f"{spec.video_id}.h5"
    *_, last = blender.run(render_job(spec, store, folder, staged))
    if not isinstance(last, Done):
        raise VOSForgeError(f"video {spec.video_id} was refused: {last}")
    frames = list(ShardSet(staged).video(spec.video_id).frames())
    staged.unlink()
    return frames


def arranged(name: str, videos: list[list[np.ndarray]]) -> np.ndarray:
    """The sheet: five draws a row, or two where three frames of each are shown."""
    moves = name in SHEETS and SHEETS[name].moves
    pictures = [contact_sheet([frames], [[""] * len(frames)], gap=1) if moves else frames[0] for frames in videos]
    columns = 2 if moves else 5
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    return contact_sheet(rows, [[""] * len(row) for row in rows])


def encoded(sheet: np.ndarray) -> bytes:
    """The sheet as a JPEG of at most `LARGEST_FILE` bytes."""
    for quality in range(90, 20, -5):
        file = io.BytesIO()
        Image.fromarray(sheet).save(file, format="JPEG", quality=quality, optimize=True)
        if file.tell() <= LARGEST_FILE:
            break
    return file.getvalue()


def main() -> None:
    """Draw, render, arrange, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*SHEETS, "diverse"]
    parser.add_argument("--out", type=Path, default=Path("docs/modules"))
    parser.add_argument("--only", nargs="+", default=names, help="names of some of the sheets (default: all)")
    parser.add_argument("--assets", default="procedural", help="procedural, or the name of an installed pack")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(names):
        raise InputError(f"there is no sheet '{unknown.pop()}'; known: {', '.join(names)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    store = AssetStore()
    with tempfile.TemporaryDirectory() as temporary, BlenderProcess(Path(temporary) / "blender.log") as blender:
        folder = Path(temporary)
        catalog = open_catalog(folder, arguments.assets, store)
        for name in arguments.only:
            scenes = drawn(name, arguments.seed, catalog)
            sheet = encoded(arranged(name, [rendered(blender, spec, store, folder) for spec in scenes]))
            with sealed_file(arguments.out / f"{name}.jpg") as file:
                file.write_bytes(sheet)
            console.print(f"{name}: {len(sheet) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
