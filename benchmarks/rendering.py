"""What a rendered frame costs, and how good it is: the published recipe against our quality presets.

    python -m benchmarks.rendering [--assets sweethome3d] [--rounds 3] [--ways recipe,standard] [--scenes 20pc-1]

Stretches of a few frames are cut from the presets' own videos (see `benchmarks.scenes`), at the speed they have there.
The recipe (see `benchmarks.recipe`; "re-encoded": its pixels in our encoding) and every preset render each of them,
interleaved; the presets in one long-lived Blender process through the product's own path, staging included. Costs are
those of a frame in a video of 160: what is spent once a video counts a 160th. Frames are judged as they are delivered,
decoded from their JPEGs, against references of 1,024 samples, which are rendered first where they are missing. That
takes ten minutes and more for each, once; ``--references-only`` does nothing else.

The folder then has figures.json (everything), quality.png (quality against cost), and the scenes' specs.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from PIL import Image

from assets.store import AssetStore
from benchmarks.recipe import RECIPE, render_recipe
from benchmarks.references import References, own_noise, psnr, ssim, to_srgb
from benchmarks.scenes import VIDEO_FRAMES, BenchScene, open_catalog, open_scenes, render_job, with_settings
from benchmarks.tables import aims, draw_plot, result_table
from blender_scenes.spec import RenderSettings, SceneSpec
from render.farm.events import Working
from render.farm.process import BlenderProcess
from render.qualities import QUALITIES
from vosforge.errors import InputError
from vosforge.log import console
from vosforge.videos import ShardSet
from vosforge.videos.codec import decode, encode

FRAMES = 8
"""Frames of a stretch. Those of its middle count; its ends are as the ends of a video are."""
JUDGED = (4, 3)
"""The frames that are held against references, the first one first."""
REENCODED = "re-encoded"
"""The recipe's pixels in our encoding."""


class Cost(NamedTuple):
    """Seconds of a delivered frame: of processor time (user and system), and as they passed."""

    cpu: float
    wall: float


class Measured(NamedTuple):
    """One way on one scene in one round: what a frame cost, what it takes up, and the judged frames as delivered."""

    cost: Cost
    colour_bytes: float
    mask_bytes: float
    frames: tuple[np.ndarray, ...]


def measure_recipe(scene: BenchScene, store: AssetStore, out: Path, judged: Sequence[int]) -> dict[str, Measured]:
    """The recipe, and its pixels in our encoding, on the judged frames of a scene."""
    found = render_recipe(scene.spec, store, out, sorted(judged))
    cost = Cost(
        *(
            found["start"][kind] / VIDEO_FRAMES
            + statistics.mean(each[kind] for each in found["rgb"])
            + statistics.mean(each[kind] for each in found["mask"])
            for kind in Cost._fields
        )
    )
    size = scene.spec.render.height, scene.spec.render.width
    published = [(out / "JPEGImages" / f"{t:05d}.jpg").read_bytes() for t in judged]
    masks = statistics.mean((out / "Annotations" / f"{t:05d}.png").stat().st_size for t in judged)
    lossless = [np.array(Image.open(out / "lossless" / f"{t:05d}.png").convert("RGB")) for t in judged]
    ours = RenderSettings()
    started = time.process_time()
    encoded = [encode(frame, ours.encoding, ours.jpeg_quality) for frame in lossless]
    extra = (time.process_time() - started) / len(encoded)
    return {
        name: Measured(
            Cost(cost.cpu + more, cost.wall + more),
            statistics.mean(map(len, files)),
            masks,
            tuple(decode(data, size) for data in files),
        )
        for name, files, more in (("recipe", published, 0.0), (REENCODED, encoded, extra))
    }


def measure_preset(
    blender: BlenderProcess, spec: SceneSpec, store: AssetStore, folder: Path, judged: Sequence[int]
) -> Measured:
    """A preset on a stretch, by a Blender process that is warm."""
    staged = folder / "staged.h5"
    cost = _timed_job(blender, render_job(spec, store, folder, staged))
    video = ShardSet(staged).video(spec.video_id)
    with h5py.File(staged) as file:
        group = file[f"videos/{spec.video_id}"]
        has_colours = "rgb" in group
        colour, mask = (
            group[name].id.get_storage_size() / spec.render.frames if name in group else 0.0
            for name in ("rgb/data", "mask")
        )
    frames = tuple(video.frame(t) for t in judged) if has_colours else ()
    staged.unlink()
    return Measured(cost, colour, mask, frames)


def _timed_job(blender: BlenderProcess, job: dict[str, Any]) -> Cost:
    """What a frame of a 160-frame video costs, from the instants at which a stretch's frames were done.

    Frames 2 to T - 2 are the middle of a video; what the first one took beyond one of those is spent once, and what
    follows the last one is sealing, which grows with the frames.
    """

    def now() -> np.ndarray:
        return np.array([time.clock_gettime(clock(blender)), time.perf_counter()])

    begin = now()
    stamps = [now() for event in blender.run(job) if not isinstance(event, Working)]
    last = len(stamps) - 2  # the place of the last frame; after it comes the outcome
    frame = (stamps[last - 1] - stamps[1]) / (last - 2)
    once = stamps[0] - begin - frame
    sealing = (stamps[-1] - stamps[last]) / (last + 1)
    cpu, wall = (float(value) for value in frame + once / VIDEO_FRAMES + sealing)
    return Cost(cpu, wall)


def clock(blender: BlenderProcess) -> int:
    """Linux's clock of the processor time a process has used (clock_getcpuclockid)."""
    assert blender.pid is not None
    return (~blender.pid << 3) | 2


def warm_up(blender: BlenderProcess, spec: SceneSpec, store: AssetStore, folder: Path) -> None:
    """Have the process started, its libraries loaded and its caches filled."""
    small = with_settings(spec, width=96, height=64, frames=2, samples=1)
    list(blender.run(render_job(small, store, folder, folder / "staged.h5")))


def judge(frames: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> dict[str, float | None]:
    """Mean PSNR and SSIM of delivered frames; None where there is nothing to judge, or nothing to judge by."""
    if not frames or not references:
        return {"psnr": None, "ssim": None}
    pairs = list(zip(frames, references, strict=True))
    return {name: statistics.mean(of(*pair) for pair in pairs) for name, of in (("psnr", psnr), ("ssim", ssim))}


def render_references(
    scenes: Sequence[BenchScene], references: References, frames: Sequence[int], store: AssetStore
) -> None:
    """Render what is missing of the references, a frame of every scene before the next frame of any."""
    for frame in frames:
        for scene in scenes:
            for chunk in references.missing(scene.spec, frame):
                started = time.perf_counter()
                cpu = references.render(scene.spec, frame, chunk, store)
                wall = time.perf_counter() - started
                console.print(
                    f"reference {scene.name}, frame {frame}, part {chunk + 1} of {references.chunks}: "
                    f"{cpu:.0f} s of processor time, {wall:.0f} s"
                )


def measure(
    scenes: Sequence[BenchScene],
    ways: Sequence[str],
    store: AssetStore,
    folder: Path,
    references: dict[str, list[np.ndarray]],
    judged: Sequence[int],
    rounds: int,
) -> list[dict[str, Any]]:
    """All ways on all scenes, in turns; a row for each of each: medians, spread (least and most), bytes, quality."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    last: dict[tuple[str, str], Measured] = {}
    with BlenderProcess(folder / "blender.log") as blender:
        warm_up(blender, scenes[0].spec, store, folder)
        for number in range(rounds):
            for scene in scenes:
                for way in ways:
                    if way == "recipe":
                        found = measure_recipe(scene, store, folder / "recipe" / scene.name, judged)
                    else:
                        spec = with_settings(scene.spec, **QUALITIES[way])
                        found = {way: measure_preset(blender, spec, store, folder, judged)}
                    for name, one in found.items():
                        costs.setdefault((scene.name, name), []).append(one.cost)
                        last[scene.name, name] = one
                        console.print(f"round {number + 1}, {scene.name}, {name}: {one.cost.cpu:.3f} CPU s a frame")
    rows = []
    for scene in scenes:
        for name in dict.fromkeys(name for _, name in costs):
            cpu, wall = (sorted(each) for each in zip(*costs[scene.name, name], strict=True))
            one = last[scene.name, name]
            rows.append(
                {
                    "group": scene.group,
                    "scene": scene.name,
                    "coverage": scene.coverage,
                    "way": name,
                    "cpu": statistics.median(cpu),
                    "cpu_all": cpu,
                    "wall": statistics.median(wall),
                    "colour_bytes": one.colour_bytes,
                    "mask_bytes": one.mask_bytes,
                    **judge(one.frames, references[scene.name]),
                }
            )
    return rows


def main() -> None:
    """Choose scenes, render references, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", default="procedural", help="procedural, or the name of an installed pack")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-render"))
    parser.add_argument("--size", default="768x512")
    parser.add_argument("--draws", type=int, default=60, help="videos of each preset that scenes are chosen from")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", help=f"some of recipe, {', '.join(QUALITIES)} (default: all)")
    parser.add_argument("--scenes", help="names of some of the scenes, by commas (default: all)")
    parser.add_argument("--reference-samples", type=int, default=1024)
    parser.add_argument("--reference-frames", type=int, default=1, choices=range(len(JUDGED) + 1))
    parser.add_argument("--references-only", action="store_true")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    folder, store = arguments.folder / arguments.assets, AssetStore()
    catalog = open_catalog(folder, arguments.assets, store)
    scenes = open_scenes(folder, store, catalog, draws=arguments.draws, size=(width, height), frames=FRAMES)
    scenes = _some(scenes, arguments.scenes and arguments.scenes.split(","))
    ways = arguments.ways.split(",") if arguments.ways else ["recipe", *QUALITIES]
    if unknown := set(ways) - {"recipe", *QUALITIES}:
        raise InputError(f"there is no way '{unknown.pop()}'; known: recipe, {', '.join(QUALITIES)}")
    judged = JUDGED[: arguments.reference_frames]
    kept = References(arguments.folder / "references", arguments.reference_samples)
    render_references(scenes, kept, judged, store)
    if arguments.references_only:
        return
    references: dict[str, list[np.ndarray]] = {scene.name: [] for scene in scenes}
    noise = {}
    for scene in scenes:
        for frame in judged:
            chunks = kept.open_chunks(scene.spec, frame)
            references[scene.name].append(to_srgb(chunks.mean(axis=0)))
            noise[f"{scene.name}, frame {frame}"] = own_noise(chunks)
    rows = measure(scenes, ways, store, folder, references, judged or JUDGED[:1], arguments.rounds)
    figures = {
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
        "load": os.getloadavg(),
        "size": [width, height],
        "rounds": arguments.rounds,
        "recipe": RECIPE,
        "presets": {way: QUALITIES[way] for way in ways if way != "recipe"},
        "reference_samples": kept.samples,
        "reference_psnr": noise,
        "rows": rows,
    }
    (folder / "figures.json").write_text(json.dumps(figures, indent=1))
    console.print(result_table(rows))
    for line in aims(rows):
        console.print(line)
    if noise:
        console.print(f"the references themselves: {min(noise.values()):.1f} dB or better against endless samples")
    draw_plot(rows, folder / "quality.png")
    console.print(f"all figures: {folder / 'figures.json'}; quality against cost: {folder / 'quality.png'}")


def _some(scenes: list[BenchScene], names: list[str] | None) -> list[BenchScene]:
    if names is None:
        return scenes
    known = {scene.name: scene for scene in scenes}
    if unknown := set(names) - set(known):
        raise InputError(f"there is no scene '{unknown.pop()}'; known: {', '.join(known)}")
    return [known[name] for name in names]


if __name__ == "__main__":
    main()
