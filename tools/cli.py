"""The command line: parse, call one function, print. An error the user can fix is one sentence and an exit code."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tools.exits import run_command
from vosforge import VOSForgeError, __version__
from vosforge.config import read_config
from vosforge.errors import InputError, QuarantinedError
from vosforge.files import check_folder, sealed_file
from vosforge.log import console, set_up_logging


def example(words: str) -> str:
    """The last line of a command's help."""
    return f"Example: `vosforge {words}`"


app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Synthetic data for video object segmentation: render videos with exact masks, train MiVOS's networks on "
    "them, segment videos interactively.",
    epilog=example("demo"),
)
assets_app = typer.Typer(
    help="Install, check and list models, textures and HDRIs.", epilog=example("assets install sweethome3d")
)
app.add_typer(assets_app, name="assets")
scenes_app = typer.Typer(
    help="Draw and describe scenes as data, without Blender.", epilog=example("scenes describe scenes.jsonl")
)
app.add_typer(scenes_app, name="scenes")

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings in a YAML file.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Override a setting: key.path=value. Repeatable.", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Blender processes; default: one per core that fits in memory.", show_default=False),
]


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

    chosen = [f"dataset.assets.models={assets}"] if assets else []
    wanted = read_config(DemoConfig, config, [*chosen, *(settings or [])], DemoConfig())
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


@assets_app.command("install", epilog=example("assets install sweethome3d"))
def assets_install(
    pack: Annotated[str, typer.Argument(help="The pack: sweethome3d or pybullet.")],
) -> None:
    """Download a pack of models (with apt-get or pip) into the user's cache. Nothing is installed system-wide."""
    from assets.packs import install_pack, pack_models

    folder = install_pack(pack)
    models = pack_models(pack)
    licences = sorted({model.licence for model in models})
    console.print(f"{pack}: {len(models)} models ({', '.join(licences)}) in {folder}")


@assets_app.command("check", epilog=example("assets check path/to/models --quarantine"))
def assets_check(
    path: Annotated[Path, typer.Argument(help="A folder of meshes or images.")],
    quarantine: Annotated[bool, typer.Option("--quarantine", help="Move unusable files into PATH/quarantine.")] = False,
) -> None:
    """Report every problem with a folder's models and images, one per line. Exits with 1 if there are any."""
    from render.farm.prepare import check_assets

    found = check_assets(path, quarantine)
    for line in found.problems:
        typer.echo(line)
    unread = f"; {found.unread} could not be read and were left in place" if found.unread else ""
    console.print(f"{found.usable} usable assets, {found.unusable} unusable files{unread}")
    if found.problems:
        remedy = f"unusable ones are now in {path}/quarantine" if quarantine else "or add --quarantine"
        raise VOSForgeError(f"{len(found.problems)} problems in {path}: fix the files, {remedy}")


@assets_app.command("list", epilog=example("assets list runs/data"))
def assets_list(
    path: Annotated[Path, typer.Argument(help="A catalog.jsonl, or the data set that holds it.")],
) -> None:
    """List the assets in a catalog with their creators and licences."""
    from rich.table import Table

    from assets.catalog import Catalog

    catalog = Catalog.load(path / "catalog.jsonl" if path.is_dir() else path)
    table = Table("kind", "name", "category", "source", "licence", "creator")
    for asset in catalog.assets:
        table.add_row(asset.kind, asset.name, asset.category, asset.source, asset.licence, asset.creator)
    console.print(table)


Assets = Annotated[
    str | None,
    typer.Option(
        help="Models: procedural (default), an installed pack, or a folder (also ShapeNet).", show_default=False
    ),
]
NumMeshes = Annotated[
    int | None, typer.Option(min=2, help="Maximum number of models; default: 100.", show_default=False)
]
Textures = Annotated[
    Path | None, typer.Option(help="A folder of images; default: procedural textures.", show_default=False)
]
NumTextures = Annotated[
    int | None, typer.Option(min=2, help="Number of procedural textures; default: 60.", show_default=False)
]
Hdris = Annotated[
    Path | None, typer.Option(help="A folder of HDRIs; default: those shipped with bpy.", show_default=False)
]
Preset = Annotated[str, typer.Option(help="Scene preset: basic or bl30k.")]
Seed = Annotated[int, typer.Option(help="Seed of the data set.")]
CatalogPath = Annotated[
    Path | None, typer.Option(help="A catalog.jsonl or its data set; default: from --assets.", show_default=False)
]


def asset_flags(
    models: str | None, num_meshes: int | None, textures: Path | None, num_textures: int | None, hdris: Path | None
) -> list[str]:
    """The flags that were given as settings of a data set."""
    flags = {
        "models": models,
        "num_meshes": num_meshes,
        "textures": textures,
        "num_textures": num_textures,
        "hdris": hdris,
    }
    return [f"assets.{key}={json.dumps(value, default=str)}" for key, value in flags.items() if value is not None]


@scenes_app.command("sample", epilog=example("scenes sample --preset bl30k --count 1000 --out scenes.jsonl"))
def scenes_sample(
    preset: Preset = "basic",
    count: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 10,
    seed: Seed = 0,
    catalog: CatalogPath = None,
    assets: Assets = None,
    num_meshes: NumMeshes = None,
    textures: Textures = None,
    num_textures: NumTextures = None,
    hdris: Hdris = None,
    out: Annotated[Path | None, typer.Option(help="Output file; default: standard output.", show_default=False)] = None,
    settings: Set = None,
) -> None:
    """Draw random scenes and write their specs, one JSON object per line."""
    from tools.commands.scenes import catalog_for, draw_scenes, preset_config

    console.stderr = out is None  # standard output carries specs only
    if out is not None:
        if out.is_dir():
            raise InputError(f"{out} is a folder: name a file for the scenes")
        check_folder(out.parent)
    sources = asset_flags(assets, num_meshes, textures, num_textures, hdris)
    config = preset_config(preset, count, seed, [*sources, *(settings or [])])
    known = catalog_for(catalog, config)
    lines = (scene.model_dump_json() for scene in draw_scenes(config, known))
    if out is None:
        for line in lines:
            typer.echo(line)
    else:
        with sealed_file(out) as temporary, temporary.open("w") as file:
            file.writelines(f"{line}\n" for line in lines)
        typer.echo(str(out))


@scenes_app.command("describe", epilog=example("scenes describe scenes.jsonl"))
def scenes_describe(
    path: Annotated[Path, typer.Argument(help="Specs as JSON lines, from 'scenes sample'.")],
) -> None:
    """Summarise scenes: a table of quantities with means and quantiles."""
    from tools.commands.scenes import quantities_table, read_scenes

    console.print(quantities_table(read_scenes(path)))


@scenes_app.command("schema", epilog=example("scenes schema > scene.schema.json"))
def scenes_schema() -> None:
    """Print the JSON schema of a scene."""
    from blender_scenes.spec import SceneSpec

    typer.echo(json.dumps(SceneSpec.model_json_schema(), indent=2))


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


@app.command(epilog=example("render runs/data --videos 1000 --preset bl30k"))
def render(
    out: Annotated[Path, typer.Argument(help="Output folder; an unfinished data set resumes.")],
    assets: Assets = None,
    num_meshes: NumMeshes = None,
    textures: Textures = None,
    num_textures: NumTextures = None,
    hdris: Hdris = None,
    videos: Annotated[int | None, typer.Option(min=1, help="Number of videos.", show_default=False)] = None,
    frames: Annotated[int | None, typer.Option(min=2, help="Frames per video.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the data set.", show_default=False)] = None,
    preset: Annotated[
        str | None, typer.Option(help="Scene preset: basic (default) or bl30k.", show_default=False)
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(help="reference, standard (default), fast, or labels (masks only).", show_default=False),
    ] = None,
    passes: Annotated[
        str | None,
        typer.Option(help="Extra passes, comma-separated: depth,flow,normal,amodal,tracks.", show_default=False),
    ] = None,
    workers: Workers = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads per process; default: cores / workers.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, gpu (best available), optix, cuda, hip or oneapi.")] = "cpu",
    workers_per_gpu: Annotated[int, typer.Option(min=1, help="Blender processes per GPU.")] = 2,
    address: Annotated[str | None, typer.Option(help="Address of a Ray cluster; default: start one here.")] = None,
    any_renderer: Annotated[
        bool, typer.Option("--any-renderer", help="Resume even with a different Blender version or device.")
    ] = False,
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Retry quarantined videos, also those in sealed shards.")
    ] = False,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Render a data set: HDF5 shards of videos with exact masks, and a manifest.

    Interrupt it at any time: sealed videos are kept, and the same command resumes. Exits with 0 if all videos are
    rendered, 1 if some are missing (run it again), 3 if only quarantined ones are missing.
    """
    from blender_scenes.sample import preset as named
    from render.farm.layout import Resources
    from render.qualities import quality_settings
    from tools.commands.rendering import render_to

    scene = named(preset).model_dump_json() if preset else None
    flags: dict[str, object] = {"scene": scene, "videos": videos, "render.frames": frames, "seed": seed}
    if passes is not None:
        names = [name.strip() for name in passes.split(",")]
        if len(set(names)) < len(names):
            raise InputError(f"--passes names a pass twice ({passes}): list each once")
        flags["render.passes"] = json.dumps(names)
    chosen = [f"{key}={value}" for key, value in flags.items() if value is not None]
    chosen += quality_settings(quality) if quality else []
    chosen += asset_flags(assets, num_meshes, textures, num_textures, hdris)
    resources = Resources(workers, threads, device, workers_per_gpu, address, any_renderer)
    check_folder(out)
    shards, missing = render_to(out, config, [*chosen, *(settings or [])], resources, retry_quarantined)
    console.print(f"{len(shards.videos)} videos in {out}", style="bold")
    for row in shards.quarantined:
        console.print(f"quarantined {row.id}: {row.reason}", style="yellow")
    if missing:
        raise VOSForgeError(f"{missing} videos of {out} are missing: run the same command again")
    if bad := len(shards.quarantined):
        raise QuarantinedError(
            f"{out} is complete except for {bad} quarantined videos: --retry-quarantined retries them"
        )


@app.command(epilog=example("train runs/data runs/networks --recipe demo"))
def train(
    data: Annotated[str, typer.Argument(help="A data set, as a path or URL.")],
    out: Annotated[Path, typer.Argument(help="Output folder for the networks.")],
    recipe: Annotated[str, typer.Option(help="demo (minutes on a CPU) or paper (the published settings).")] = "demo",
    network: Annotated[
        list[str] | None, typer.Option(help="s2m, propagation or fusion; default: all three.", show_default=False)
    ] = None,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Train the networks on a data set's training split, with loss curves for TensorBoard."""
    from tools.commands.training import NETWORKS, train_networks
    from train.settings import Recipe
    from train.settings import recipe as named
    from vosforge.videos import place

    if unknown := set(network or ()) - set(NETWORKS):
        raise InputError(f"unknown network '{sorted(unknown)[0]}'; known: {', '.join(NETWORKS)}")
    wanted = read_config(Recipe, config, settings or [], base=named(recipe))
    check_folder(out)
    train_networks(place(data), wanted, out, network or NETWORKS)
    console.print("networks in", style="bold", end=" ")
    typer.echo(str(out))


@app.command(epilog=example("infer path/to/frames runs/out --networks runs/networks --mask first.png"))
def infer(
    video: Annotated[str, typer.Argument(help="A folder of frames, a film, or DATASET:VIDEO (path or URL).")],
    out: Annotated[Path, typer.Argument(help="Output folder: OUT/Annotations/VIDEO/00000.png and a preview.")],
    networks: Annotated[Path, typer.Option(help="Folder of trained networks.")] = Path("runs/demo/networks"),
    mask: Annotated[
        Path | None, typer.Option(help="Mask of one frame: a PNG, one value per object.", show_default=False)
    ] = None,
    scribbles: Annotated[
        Path | None, typer.Option(help="DAVIS scribbles in JSON, on one or more frames.", show_default=False)
    ] = None,
    frame: Annotated[int, typer.Option(min=0, help="The frame that --mask annotates.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Robot rounds, for a video with masks.")] = 3,
    short_side: Annotated[
        int | None,
        typer.Option(
            help="Shorter side of the frames as the networks see them (demo networks: 256); default: full size.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Segment a video from a mask, from scribbles, or with the DAVIS robot (if the video has masks)."""
    from tools.commands.inference import infer_video

    check_folder(out)
    result = infer_video(video, out, networks, mask, scribbles, frame, rounds, short_side)
    for number, score in enumerate(result.scores, start=1):
        console.print(f"round {number}: J {score.mean_j:.3f}  F {score.mean_f:.3f}  J&F {score.j_and_f:.3f}")
    console.print("masks in", style="bold", end=" ")
    typer.echo(str(result.masks))


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
