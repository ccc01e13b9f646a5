"""The whole loop on one machine: render, train a little, segment unseen videos interactively, report.

Every stage stores its result in the run's folder; the next run reuses it if its inputs are unchanged.
"""

import importlib.metadata
import json
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from assets.settings import AssetSettings
from assets.store import AssetStore
from blender_scenes.sample import SceneConfig
from blender_scenes.spec import RenderSettings
from mivos_models import shipped_networks
from render.farm.jobs import Dataset, DatasetConfig, begun_with
from render.farm.layout import Resources
from tools.commands.rendering import open_dataset, render_with_progress
from tools.commands.training import train_networks
from tools.demo.report import (
    AssetCredit,
    ContactSheet,
    DemoReport,
    InteractiveResult,
    InteractiveRound,
    RenderSummary,
    RoundScore,
    Stage,
    Verdict,
    VideoScores,
    judge,
    write_report,
)
from tools.inspect.view import video_sheet
from train.evaluation.kept import Outcome, State, evaluate_videos
from train.recipes import RECIPES
from train.settings import NETWORKS, Recipe
from vosforge.config import Record
from vosforge.errors import InputError, VOSForgeError
from vosforge.files import write_sealed
from vosforge.log import console
from vosforge.progress import progress, shown
from vosforge.videos import ShardSet, ShardVideo
from vosforge.videos.folders import open_folder
from vosforge.videos.gates import DARKEST
from vosforge.videos.video import Video


class DemoConfig(Record):
    """Settings of the demo. Equal configs give equal videos and, on one machine, equal networks."""

    dataset: DatasetConfig = DatasetConfig(
        videos=15,
        videos_per_shard=5,
        assets=AssetSettings(num_meshes=60, num_textures=40),
        scene=SceneConfig(scale=(2.0, 3.6)),  # larger objects than BL30K's: small networks learn from them in minutes
        render=RenderSettings(width=384, height=256, frames=24, samples=4),
    )
    training: Recipe = RECIPES["demo"]
    rounds: Annotated[int, Field(ge=1, le=20)] = 3


class Timings:
    """The duration of each stage."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Time a stage; texts appended to the yielded list become its note."""
        console.rule(name, align="left")
        notes: list[str] = []
        started = time.monotonic()
        yield notes
        self.stages.append(Stage(name, time.monotonic() - started, "; ".join(notes)))


def run_demo(
    config: DemoConfig, out: Path, videos: Sequence[Path] = (), workers: int | None = None
) -> tuple[Path, Verdict]:
    """Run every stage below ``out`` and return the report's path and the verdict.

    ``videos``: real ones to segment as well (folders of frames, or DAVIS-style roots). Raises InputError before any
    work when one of them cannot be used, or nothing is to have colours.
    """
    if not config.dataset.render.colors:
        raise InputError("the demo trains on colours: leave dataset.render.colors as it is")
    real = [video for path in videos for video in open_folder(path)]
    for video in real:
        if not video.has_masks:
            raise InputError(f"{video.path} has no masks for the robot: use 'vosforge infer' with your own")
    data, networks = out / "data", out / "networks"
    if not begun_with(data) and out.is_dir() and any(path != data for path in out.iterdir()):
        raise InputError(f"{out} holds other files and no demo: name a new or an empty folder")
    timings = Timings()
    store = AssetStore()
    with timings.stage("Assets") as notes:
        if begun_with(data):
            notes.append("reused")
        dataset = open_dataset(data, config.dataset, store)
    with timings.stage("Render") as notes:
        shards, summary = _render(dataset, store, workers, out, notes)
    for kind in NETWORKS:
        with timings.stage(f"Train {kind}") as notes:
            if train_networks([str(data)], config.training, networks, [kind])[kind]:
                notes.append("reused")
    held_out = shards.split("val")
    seen: list[Video] = [*held_out, *real]
    with timings.stage("Evaluate") as notes:
        # Networks this small know objects at the size they were trained on: real videos are shown to them like that.
        settings = config.dataset.render
        side = min(settings.width, settings.height)
        outcomes, reused = evaluate_videos(seen, networks, config.rounds, config.dataset.seed, side, out / "results")
        if reused:
            notes.append("reused")
            console.print("every video was already evaluated with these networks, reusing the results")
    with timings.stage("Evaluate the shipped networks") as notes:
        try:
            shipped = shipped_networks()
        except InputError:
            notes.append("there are none")
            console.print("there are no shipped networks here, skipping them")
        else:  # one video shows the difference; each takes as long as the demo's own
            first, seed, results = held_out[:1], config.dataset.seed, out / "results"
            found, reused = evaluate_videos(first, shipped, config.rounds, seed, side, results, ["shipped"])
            for outcome, added in zip(outcomes, found, strict=False):
                outcome.update(added)
            if reused:
                notes.append("reused")
    scores = [
        _video_scores(video, outcome, "held-out" if place < len(held_out) else "real")
        for place, (video, outcome) in enumerate(zip(seen, outcomes, strict=True))
    ]
    with timings.stage("Report"):
        report = DemoReport(
            title="VOSForge demo",
            created=datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
            renders=summary,
            contact_sheets=[_sheet(video) for video in (*shards.split("train")[:3], *held_out[:1])],
            losses={kind: _losses(networks / f"{kind}.jsonl") for kind in NETWORKS},
            scores=scores,
            interactive=[
                _interactive(video, outcome[state], name)
                for video, outcome in zip(seen, outcomes, strict=True)
                for state, name in (("trained", video.id), ("shipped", f"{video.id}, shipped networks"))
                if state in outcome
            ],
            stages=timings.stages,
            settings=_settings(config),
            versions=_versions(shards),
            credits=_credits(shards),
            commands=_commands(config, out, videos),
        )
        path = write_report(out / "report.html", report)
    return path, judge(summary, scores)


def _render(
    dataset: Dataset, store: AssetStore, workers: int | None, out: Path, notes: list[str]
) -> tuple[ShardSet, RenderSummary]:
    done = render_with_progress(dataset, store, Resources(workers=workers))
    if done.frames_total:
        write_sealed(out / "render.json", json.dumps({"seconds": done.seconds, "frames": done.frames_done}))
    else:
        notes.append("reused")
        console.print(f"all {dataset.config.videos} videos are already sealed, reusing {shown(dataset.root)}")
    timing = json.loads((out / "render.json").read_text())
    shards = ShardSet(dataset.root)
    if done.left:
        raise VOSForgeError(f"{done.left} videos are missing, see the lines above: run the same command again")
    if shards.quarantined:
        first = shards.quarantined[0]
        raise VOSForgeError(
            f"{len(shards.quarantined)} videos could not be rendered, {first.id} because {first.reason}"
        )
    black = maskless = frames = 0
    with progress("checking", len(shards.videos)) as bar:
        for video in shards:  # what is on disk counts, not what the renderer said
            video.verify()
            for t in range(video.num_frames):
                black += float(video.frame(t).mean()) < DARKEST
                maskless += not video.mask(t).any()
            frames += video.num_frames
            bar.advance(video.id)
    check_disjoint(shards)
    return shards, RenderSummary(
        videos=len(shards.videos),
        frames=frames,
        seconds=timing["seconds"],
        frames_per_second=timing["frames"] / timing["seconds"],
        black_frames=black,
        maskless_frames=maskless,
        redrawn=sum(row.attempt for row in shards.videos),
    )


def check_disjoint(shards: ShardSet) -> None:
    """Raise VOSForgeError when a held-out video shares a model, an image or surroundings with a training one."""
    used: dict[str, set[str]] = {"train": set(), "val": set()}
    for split, contents in used.items():
        for video in shards.split(split):
            for asset in video.attributes["credits"]:
                contents.update([asset["hash"], *asset["textures"]])
    if shared := used["train"] & used["val"]:
        raise VOSForgeError(f"the held-out videos share assets with the training videos: {', '.join(sorted(shared))}")


def _sheet(video: ShardVideo) -> ContactSheet:
    kind = "held out" if video.row.split == "val" else "training"
    return ContactSheet(f"Video {video.id} ({kind}, {video.num_objects} objects)", video_sheet(video))


def _losses(path: Path) -> list[tuple[int, float]]:
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines]


def _video_scores(video: Video, outcome: dict[State, Outcome], kind: Literal["held-out", "real"]) -> VideoScores:
    rounds = {state: tuple(RoundScore(*map(float, row)) for row in kept.scores) for state, kept in outcome.items()}
    return VideoScores(
        video.id, kind, rounds["trained"], rounds["initial"], video.num_objects, rounds.get("shipped", ())
    )


def _interactive(video: Video, outcome: Outcome, name: str) -> InteractiveResult:
    rounds = tuple(
        InteractiveRound(masks, strokes, int(frame), float(score[2]))
        for masks, strokes, frame, score in zip(
            outcome.masks, outcome.scribbles, outcome.frames, outcome.scores, strict=True
        )
    )
    return InteractiveResult(name, video.frames(), rounds, video.masks())


def _settings(config: DemoConfig) -> list[tuple[str, str]]:
    data, settings = config.dataset, config.dataset.render
    most = "up to " if settings.tolerated_noise and not settings.plain else ""
    size = f"{settings.width} × {settings.height}, {most}{settings.samples} samples a pixel"
    return [
        (
            "Models",
            f"{data.assets.num_meshes} {data.assets.models}, {data.assets.num_textures} textures",
        ),
        ("Videos", f"{data.videos} of {settings.frames} frames, every {data.held_out_every}th held out, {size}"),
        *(
            (
                f"Training of {kind}",
                f"{run.iterations} steps of {run.batch}, "
                + (f"width {run.width:g}" if kind == "fusion" else f"ResNet-{run.depth} at width {run.width:g}"),
            )
            for kind, run in ((kind, getattr(config.training, kind)) for kind in NETWORKS)
        ),
        ("Rounds of interaction", str(config.rounds)),
    ]


def _versions(shards: ShardSet) -> dict[str, str]:
    renderers = sorted({str(video.attributes["renderer"]) for video in shards})
    packages = {name: importlib.metadata.version(name) for name in ("vosforge", "torch", "ray", "h5py")}
    return {**packages, "Python": platform.python_version(), "Renderer": ", ".join(renderers)}


def _credits(shards: ShardSet) -> list[AssetCredit]:
    used = {asset["hash"]: asset for video in shards for asset in video.attributes["credits"]}
    return [
        AssetCredit(f"{asset['name']} ({asset['source']})", asset["licence"], asset["creator"])
        for asset in sorted(used.values(), key=lambda asset: asset["source"])
    ]


def _commands(config: DemoConfig, out: Path, videos: Sequence[Path]) -> list[str]:
    extra = "" if config.dataset.assets.models == "procedural" else f" --assets {config.dataset.assets.models}"
    extra += "".join(f" --video {path}" for path in videos)
    return [f"vosforge demo --out {out}{extra}", f"vosforge view {out}/data", f"tensorboard --logdir {out}/networks"]
