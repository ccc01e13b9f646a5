"""Commands about a data set that is, or will be, rendered: ``vosforge status``, ``pause``, ``resume``, ``estimate``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tools.options import (
    Assets,
    Config,
    DatasetPreset,
    DatasetSeed,
    Device,
    Frames,
    Hdris,
    NumMeshes,
    NumTextures,
    Passes,
    Quality,
    Set,
    Textures,
    Threads,
    Videos,
    WorkersPerGpu,
    asset_flags,
    dataset_flags,
)
from vosforge.config import parsed_settings
from vosforge.log import console


def status(
    out: Annotated[str, typer.Argument(help="A data set that render works on, or did, as a path or URL.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: seconds, bytes, counts an hour.")] = False,
    parts: Annotated[
        int | None,
        typer.Option(
            "--missing-parts",
            min=1,
            help="Print only which of N parts remain, for Slurm's --array.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say how far a data set is: videos done, running, missing and quarantined, rate, time left, and each worker.

    Reads files only, from any machine that sees the folder, also while a run works on it. Exits with 0 if all videos
    are rendered; 1 if some are missing, or in no shard yet, and no run is under way; 3 if only quarantined ones are
    missing; 4 while a run is under way.
    """
    from render.farm.parts import missing_parts
    from render.farm.status import EXIT_CODES, read_status
    from tools.commands.status import status_json, status_lines, workers_table
    from vosforge.videos import place

    if parts is not None:
        typer.echo(missing_parts(place(out), parts))
        return
    found = read_status(place(out))
    if as_json:
        typer.echo(json.dumps(status_json(out, found), indent=2))
    else:
        for line in status_lines(out, found):
            typer.echo(line)
        for run in found.alive:
            console.print(workers_table(run))
    raise typer.Exit(EXIT_CODES[found.state])


Rendered = Annotated[str, typer.Argument(help="A data set that render started, as a path or URL.")]


def pause(out: Rendered) -> None:
    """Pause the runs that work on a data set, on any machine: they finish the videos in work and start no new ones.

    They notice within seconds, and keep their workers and memory. The next run waits, too, until resume.
    """
    from render.farm.pausing import pause as pause_runs
    from vosforge.videos import place

    told = "is paused" if pause_runs(place(out)) else "was paused already"
    typer.echo(f"{out} {told}: 'vosforge resume {out}' continues")


def resume(out: Rendered) -> None:
    """Let the runs of a paused data set continue. It starts no run: that is what render does."""
    from render.farm.pausing import resume as resume_runs
    from vosforge.videos import place

    typer.echo(f"{out} is no longer paused" if resume_runs(place(out)) else f"{out} was not paused")


def estimate(
    out: Annotated[
        Path | None, typer.Argument(help="A data set that render started; default: a new one.", show_default=False)
    ] = None,
    assets: Assets = None,
    num_meshes: NumMeshes = None,
    textures: Textures = None,
    num_textures: NumTextures = None,
    hdris: Hdris = None,
    videos: Videos = None,
    frames: Frames = None,
    seed: DatasetSeed = None,
    preset: DatasetPreset = None,
    quality: Quality = None,
    passes: Passes = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Blender processes to finish with; default: this machine's.", show_default=False),
    ] = None,
    threads: Threads = None,
    device: Device = "cpu",
    workers_per_gpu: WorkersPerGpu = 2,
    samples: Annotated[int, typer.Option(min=1, help="Number of sample videos.")] = 2,
    usd_per_core_hour: Annotated[
        float | None, typer.Option(min=0, help="Price of a core for an hour.", show_default=False)
    ] = None,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Estimate what a data set costs, before it is rendered: time, core-hours, disk, money.

    Prepares the assets and renders a few sample videos with one worker; takes the options of render. Ranges are those
    of the fastest and the slowest, the smallest and the largest sample: more samples tell more.
    """
    from render.farm.layout import Resources
    from tools.commands.estimating import estimate_lines

    chosen = dataset_flags(videos, frames, seed, preset, quality, passes)
    chosen |= asset_flags(assets, num_meshes, textures, num_textures, hdris) | parsed_settings(settings or ())
    resources = Resources(workers, threads, device, workers_per_gpu)
    for line in estimate_lines(out, config, chosen, resources, samples, usd_per_core_hour):
        typer.echo(line)
