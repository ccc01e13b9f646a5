"""Whether two versions of the code render the same: SHA-256 of masks, passes and encoded frames of 12 scenes.

Run it with each version on one machine, ``python -m benchmarks.same_frames before.json``, then
``python -m benchmarks.same_frames --compare before.json after.json``: it exits with 1 where anything differs.
"""

import argparse
import hashlib
import itertools
import json
import sys
import tempfile
from pathlib import Path

import h5py

from assets.procedural import procedural_catalog
from assets.store import AssetStore
from assets.surroundings import hdri_catalog
from blender_scenes.spec import LensSpec, SceneSpec
from render.farm.events import Done
from render.farm.process import BlenderProcess
from render.qualities import quality_settings
from tools.commands.scenes import draw_scenes, preset_config

PRESETS = ("basic", "bl30k")
SMALL = {
    "render.width": 192,
    "render.height": 128,
    "render.frames": 3,
    "assets.num_meshes": 8,
    "assets.num_textures": 6,
}
PASSES = {"render.passes": ["depth", "flow", "normal", "amodal", "tracks"]}


def scenes(catalog: object) -> dict[str, SceneSpec]:
    """Twelve scenes by name: each preset in each quality with all passes, and with a lens, a shutter and haze."""
    found = {}
    for preset, quality in itertools.product(PRESETS, ("standard", "fast", "reference", "labels")):
        settings = SMALL | quality_settings(quality) | PASSES
        [found[f"{preset}, {quality}"]] = draw_scenes(preset_config(preset, 1, 7, settings), catalog)
    for preset in PRESETS:
        [drawn] = draw_scenes(preset_config(preset, 1, 8, SMALL), catalog)
        lens = {"lens": LensSpec(f_number=0.8, focus=(4.0,)), "shutter": 0.7}
        found[f"{preset}, lens and shutter"] = drawn.model_copy(update={"camera": drawn.camera.model_copy(update=lens)})
        haze = {"density": 0.05, "color": (0.7, 0.8, 0.9)}
        values = drawn.model_dump(mode="json") | {"atmosphere": haze}
        found[f"{preset}, haze"] = SceneSpec.model_validate(values)
    return found


def contents(path: Path) -> dict[str, str]:
    """The hash of every data set of a shard, by its name."""
    found = {}
    with h5py.File(path, "r") as file:

        def add(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and not name.endswith("spec"):
                kind = h5py.check_string_dtype(item.dtype)
                data = str(item[()]).encode() if kind else item[()].tobytes()
                found[name] = hashlib.sha256(data).hexdigest()

        file.visititems(add)
    return found


def render_all() -> dict[str, dict[str, str]]:
    """The hashes of all data sets of the twelve scenes."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = AssetStore(folder / "store")
        catalog = procedural_catalog(store, 8, 6, seed=3) + hdri_catalog(store)
        catalog.save(folder / "catalog.jsonl")
        with BlenderProcess(folder / "blender.log", threads=2) as blender:
            for number, (scene, spec) in enumerate(scenes(catalog).items()):
                staged = folder / f"{number}.h5"
                job = {"do": "render", "spec": spec.model_dump_json(), "store": str(store.root), "gates": False}
                job |= {"catalog": str(folder / "catalog.jsonl"), "staged": str(staged), "renderer": None}
                *_, last = blender.run(job)
                if not isinstance(last, Done):
                    sys.exit(f"{scene}: {last}")
                found[scene] = contents(staged)
                print(scene, len(found[scene]), flush=True)
    return found


def main() -> None:
    """Render and write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--compare", action="store_true")
    wanted = parser.parse_args()
    if not wanted.compare:
        wanted.files[0].write_text(json.dumps(render_all(), indent=1))
        return
    before, after = (json.loads(path.read_text()) for path in wanted.files)
    names = [(scene, name) for scene in before | after for name in before.get(scene, {}) | after.get(scene, {})]
    differ = [pair for pair in names if before.get(pair[0], {}).get(pair[1]) != after.get(pair[0], {}).get(pair[1])]
    print(f"{len(names)} data sets of {len(before)} scenes, {len(differ)} differ")
    for scene, name in differ:
        print(f"  {scene}: {name}")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
