"""The command groups ``vosforge assets`` and ``vosforge scenes``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tools.options import (
    Assets,
    CatalogPath,
    Hdris,
    NumMeshes,
    NumTextures,
    Preset,
    Seed,
    Set,
    Textures,
    asset_flags,
    example,
)
from vosforge import VOSForgeError
from vosforge.config import parsed_settings
from vosforge.errors import InputError
from vosforge.files import check_folder, sealed_file
from vosforge.log import console

assets_app = typer.Typer(
    help="Install, check and list models, textures and HDRIs.", epilog=example("assets install sweethome3d")
)
scenes_app = typer.Typer(
    help="Draw and describe scenes as data, without Blender.", epilog=example("scenes describe scenes.jsonl")
)


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


@scenes_app.command("sample", epilog=example("scenes sample --preset bl30k --count 1000 --out scenes.jsonl"))
def scenes_sample(
    preset: Preset = "diverse",
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
    config = preset_config(preset, count, seed, sources | parsed_settings(settings or ()))
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
    """Summarise scenes: a table of quantities, and what the recipes say of the amounts that 'stats' measures."""
    from tools.commands.scenes import description, read_scenes

    for table in description(read_scenes(path)):
        console.print(table)


@scenes_app.command("schema", epilog=example("scenes schema > scene.schema.json"))
def scenes_schema() -> None:
    """Print the JSON schema of a scene."""
    from blender_scenes.spec import SceneSpec

    typer.echo(json.dumps(SceneSpec.model_json_schema(), indent=2))
