"""The command line: parse, call one function, print. An error the user can fix is one sentence and an exit code."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tools.exits import run_command
from tools.farm import estimate, pause, resume, status
from tools.groups import assets_app, scenes_app
from tools.networks import evaluate, infer
from tools.options import (
    ALL,
    WEBHOOK_VARIABLE,
    Assets,
    Config,
    DatasetPreset,
    DatasetSeed,
    Device,
    Frames,
    Hdris,
    MetricsPort,
    NumMeshes,
    NumTextures,
    Passes,
    Processes,
    Quality,
    RetryCommand,
    RetryQuarantined,
    Set,
    Textures,
    Threads,
    Videos,
    Webhook,
    Workers,
    WorkersPerGpu,
    asset_flags,
    dataset_flags,
    example,
    given,
)
from vosforge import VOSForgeError, __version__
from vosforge.config import parsed_settings, read_config
from vosforge.errors import InputError, QuarantinedError
from vosforge.files import check_folder
from vosforge.log import console, set_up_logging

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Synthetic data for video object segmentation: render videos with exact masks, train MiVOS's networks on "
    "them, segment videos interactively.",
    epilog=example("demo"),
)
app.add_typer(assets_app, name="assets")
app.add_typer(scenes_app, name="scenes")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vosforge {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    set_up_logging(verbose)


@app.command(epilog=example("demo --assets sweethome3d"))
def demo(
    out: Annotated[
        Path | None, typer.Option(help="Output folder; default: runs/demo or runs/demo-ASSETS.", show_default=False)
    ] = None,
    assets: Annotated[
        str | None, typer.Option(help="Models: procedural (default), a pack, or a folder.", show_default=False)
    ] = None,
    video: Annotated[
        list[Path] | None,
        typer.Option(help="Also segment this real video with masks. Repeatable.", show_default=False),
    ] = None,
    workers: Workers = None,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Run the whole loop at small scale: render, train, segment unseen videos, write a report with pictures.

    A second run reuses existing results. Fails if a frame is black or has no mask, or if training adds less than 10
    points of J&F on the held-out videos.
    """
    from tools.demo.demo import DemoConfig, run_demo

    chosen = given({"dataset.assets.models": assets}) | parsed_settings(settings or ())
    wanted = read_config(DemoConfig, config, chosen, DemoConfig())
    folder = out or Path(
        "runs/demo"
        if wanted.dataset.assets.models == "procedural"
        else f"runs/demo-{Path(wanted.dataset.assets.models).name}"
    )
    check_folder(folder)
    report, verdict = run_demo(wanted, folder, video or [], workers)
    for check in verdict.checks:
        console.print(f"{'[green]passed' if check.passed else '[red]failed'}[/]  {check.asked}: {check.found}")
    console.print("report:", style="bold", end=" ")
    typer.echo(str(report))
    if not verdict.passed:
        raise VOSForgeError("the demo failed; the report shows where")


@app.command(epilog=example("export runs/data runs/davis --format davis --split val"))
def export(
    path: Annotated[str, typer.Argument(help="A data set or one shard file, as a path or URL.")],
    out: Annotated[Path, typer.Argument(help="A new folder; created once everything is written.")],
    layout: Annotated[str, typer.Option("--format", "-f", help="davis, bl30k, youtube-vos, coco, webdataset, mp4.")],
    split: Annotated[str | None, typer.Option(help="train or val; default: both.", show_default=False)] = None,
    video: Annotated[
        list[str] | None, typer.Option(help="A video's id. Repeatable; default: all.", show_default=False)
    ] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Megabytes per webdataset tar.")] = 1000,
) -> None:
    """Write a data set in another layout. Stored JPEGs are copied unchanged; masks are exact."""
    from tools.convert.exporting import export_dataset
    from vosforge.videos import place

    check_folder(out)
    count = export_dataset(place(path), out, layout, split, video or (), shard_size)
    console.print(f"{count} videos in", style="bold", end=" ")
    typer.echo(str(out))


@app.command("import", epilog=example("import path/to/frames runs/own --masks path/to/masks"))
def import_(
    source: Annotated[Path, typer.Argument(help="A folder of images and masks, a tar, a folder of tars, or a film.")],
    out: Annotated[Path, typer.Argument(help="Output folder; an unfinished import resumes.")],
    layout: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="davis, bl30k, youtube-vos or folders; default: detected.", show_default=False
        ),
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of masks, if SOURCE has frames only.", show_default=False)
    ] = None,
    labelled_only: Annotated[bool, typer.Option("--labelled-only", help="Skip frames without a mask.")] = False,
    videos_per_shard: Annotated[int, typer.Option(min=1, max=10_000, help="Videos per shard.")] = 25,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core.", show_default=False)
    ] = None,
) -> None:
    """Convert DAVIS, BL30K, YouTube-VOS or any folders of frames and masks into a data set of shards.

    JPEG and PNG frames keep their bytes, masks their values. Interrupt it at any time: the same command resumes.
    """
    from tools.convert.importing import import_dataset

    check_folder(out)
    rows = import_dataset(source, out, layout, masks, labelled_only, videos_per_shard, workers)
    console.print(f"{len(rows)} videos in", style="bold", end=" ")
    typer.echo(str(out))


@app.command(cls=RetryCommand, epilog=example("render runs/data --videos 1000 --preset bl30k"))
def render(
    out: Annotated[str, typer.Argument(help="Output folder or URL (s3://...); an unfinished data set resumes.")],
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
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "cpu",
    workers_per_gpu: WorkersPerGpu = 2,
    address: Annotated[str | None, typer.Option(help="Address of a Ray cluster; default: start one here.")] = None,
    any_renderer: Annotated[
        bool, typer.Option("--any-renderer", help="Resume even with a different Blender version or device.")
    ] = False,
    retry_quarantined: RetryQuarantined = None,
    part: Annotated[
        str | None,
        typer.Option(
            help="Render one part of N, without Ray: 7/40. Any number of parts may run at once.", show_default=False
        ),
    ] = None,
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="Pin settings and assets; render nothing.")
    ] = False,
    webhook: Webhook = None,
    metrics_port: MetricsPort = None,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Render a data set: HDF5 shards of videos with exact masks, and a manifest.

    Interrupt it at any time: sealed videos are kept, and the same command resumes. Exits with 0 if all videos are
    rendered, 1 if some are missing (run it again), 3 if only quarantined ones are missing.
    """
    from assets.store import AssetStore
    from render.farm.layout import Resources
    from render.farm.parts import Part
    from tools.commands.rendering import open_part, render_to
    from vosforge.videos import place

    chosen_part = Part.parse(part) if part is not None else None
    os.environ.pop(WEBHOOK_VARIABLE, None)  # no process that this one starts needs it
    if metrics_port is not None and (part is not None or address is not None):
        raise InputError(
            "--metrics-port is for a Ray of this run's own: leave out --part, or on a cluster give the "
            "port to 'ray start --metrics-export-port'"
        )
    if part is not None and (address is not None or prepare_only):
        raise InputError(f"--part {part} renders here: leave out {'--prepare-only' if prepare_only else '--address'}")
    chosen = dataset_flags(videos, frames, seed, preset, quality, passes)
    chosen |= asset_flags(assets, num_meshes, textures, num_textures, hdris) | parsed_settings(settings or ())
    resources = Resources(workers, threads, device, workers_per_gpu, address, any_renderer, metrics_port)
    target = place(out)
    if isinstance(target, Path):
        check_folder(target)
    if prepare_only:
        open_part(target, config, chosen, AssetStore(), address=address)
        console.print(f"{out} is prepared", style="bold")
        return
    retry = retry_quarantined == ALL or retry_quarantined or False
    done, quarantined, missing = render_to(target, config, chosen, resources, retry, chosen_part, webhook)
    console.print(f"{done} videos{f' of part {part}' if part else ''} in {out}", style="bold")
    for row in quarantined:
        console.print(f"quarantined {row.id}: {row.reason}", style="yellow")
    if missing:
        raise VOSForgeError(f"{missing} videos of {out} are missing: run the same command again")
    if bad := len(quarantined):
        raise QuarantinedError(
            f"{out} is complete except for {bad} quarantined videos: --retry-quarantined retries them"
        )


app.command(epilog=example("status runs/data"))(status)
app.command(epilog=example("pause runs/data"))(pause)
app.command(epilog=example("resume runs/data"))(resume)
app.command(epilog=example("estimate --videos 30000 --preset bl30k --workers 64 --usd-per-core-hour 0.04"))(estimate)


@app.command(epilog=example("train runs/data runs/networks --recipe demo"))
def train(
    data: Annotated[
        list[str],
        typer.Argument(
            help="Data sets of shards, DAVIS, YouTube-VOS, BL30K, frames and masks, or stills, as paths or URLs; each "
            "may end with settings, as in DAVIS,weight=5."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Output folder for the networks.")],
    recipe: Annotated[
        str,
        typer.Option(help="demo (minutes on a CPU), small (an hour; see make small), mivos (as published) or debug."),
    ] = "demo",
    network: Annotated[
        list[str] | None, typer.Option(help="s2m, propagation or fusion; default: all three.", show_default=False)
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Train one of the recipe's stages; default: all.", show_default=False)
    ] = None,
    processes: Processes = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster to train on; default: this machine.", show_default=False),
    ] = None,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Train the networks on a mix of data, with curves for TensorBoard and a page, OUT/training.html.

    Interrupt it at any time: the same command resumes.
    """
    from tools.commands.training import train_in_processes
    from train.recipes import recipe as named_recipe
    from train.settings import NETWORKS, Recipe

    if unknown := set(network or ()) - set(NETWORKS):
        raise InputError(f"unknown network '{sorted(unknown)[0]}'; known: {', '.join(NETWORKS)}")
    wanted = read_config(Recipe, config, parsed_settings(settings or ()), named_recipe(recipe))
    check_folder(out)
    if train_in_processes(data, wanted, out, network or NETWORKS, stage, address, processes):
        console.print("networks in", style="bold", end=" ")
        typer.echo(str(out))


app.command(epilog=example("infer path/to/film.mp4 runs/out --mask first.png"))(infer)
app.command(epilog=example("evaluate path/to/results path/to/DAVIS --split val"))(evaluate)


@app.command(epilog=example("view runs/data:000007"))
def view(
    where: Annotated[str, typer.Argument(help="PATH[:VIDEO]: a data set or shard (path or URL), frames, or a film.")],
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("runs/view"),
) -> None:
    """Write a contact sheet (PNG, with passes), a GIF and an MP4 of a video with its masks overlaid."""
    from tools.inspect.view import open_video, view_video

    check_folder(out)
    files = view_video(open_video(where), out)
    for path in (files.png, files.gif, files.mp4):
        typer.echo(str(path))


@app.command(epilog=example("verify runs/data --quick"))
def verify(
    path: Annotated[str, typer.Argument(help="A data set or one shard file, as a path or URL.")],
    quick: Annotated[bool, typer.Option("--quick", help="Check structure and tables only; decode nothing.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Queue the bad videos for rendering again.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
) -> None:
    """Check every video of a data set: checksums, frames, masks, tables, manifest. Exits with 1 if any is bad."""
    from tools.inspect.verification import verify_path
    from vosforge.videos import place

    found = verify_path(place(path), quick, repair, workers)
    for line in found.lines():
        typer.echo(line)
    if not found.passed:
        raise VOSForgeError(found.summary())
    typer.echo(found.summary())


@app.command(epilog=example("stats runs/data"))
def stats(
    path: Annotated[str, typer.Argument(help="A data set or one shard file, as a path or URL.")],
    out: Annotated[
        Path | None, typer.Option(help="Output folder for the card; default: the data set.", show_default=False)
    ] = None,
) -> None:
    """Print statistics of a data set, and write DATASET_CARD.md with plots, licences and credits."""
    from tools.inspect.stats import collect_stats, stats_tables
    from vosforge.videos import place

    where = place(path)
    folder = out or (where if isinstance(where, Path) and where.is_dir() else None)
    if folder:
        from tools.inspect.card import write_card  # needs matplotlib

        check_folder(folder)
    found = collect_stats(where)
    for table in stats_tables(found):
        console.print(table)
    for video, why in found.gaps.items():
        typer.echo(f"{video} is missing: {why}")
    if folder:
        typer.echo(str(write_card(found, folder)))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line (default: the process's arguments) and exit as `tools.exits.run` describes."""
    run_command(app, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
