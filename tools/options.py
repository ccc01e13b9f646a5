"""Options shared by several commands, and the settings they give."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vosforge.errors import InputError


def example(words: str) -> str:
    """The last line of a command's help."""
    return f"Example: `vosforge {words}`"


Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings in a YAML file.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Override a setting: key.path=value. Repeatable.", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Blender processes; default: one per core that fits in memory.", show_default=False),
]
Processes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes that train together, started by Ray; default: one, or with --address one per GPU or node.",
        show_default=False,
    ),
]
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
Preset = Annotated[str, typer.Option(help="Scene preset: diverse, basic, bl30k or clips, or a YAML file.")]
Seed = Annotated[int, typer.Option(help="Seed of the data set.")]
CatalogPath = Annotated[
    Path | None, typer.Option(help="A catalog.jsonl or its data set; default: from --assets.", show_default=False)
]

SHIPPED_SIDE = 480
"""The largest short side at which the shipped networks see frames, unless told otherwise."""
SMALL = "small"
"""What --networks calls the shipped networks."""


def networks_folder(name: str) -> Path | None:
    """The folder that --networks names; None: the shipped networks. A folder called small is written ./small."""
    return None if name == SMALL else Path(name)


def seen_side(networks: str | None, short_side: int | None) -> int | None:
    """The short side of the frames that ``networks`` see: as given, or what the shipped networks are trained for."""
    return SHIPPED_SIDE if networks == SMALL and short_side is None else short_side


RETRY, ALL = "--retry-quarantined", "all"


class RetryCommand(TyperCommand):
    """A command whose option --retry-quarantined may stand without a class."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name all classes where the option is the last word, or another one follows it."""
        pairs = itertools.pairwise([*args, "--"])
        alone = [f"{word}={ALL}" if word == RETRY and after.startswith("-") else word for word, after in pairs]
        return super().parse_args(ctx, alone)


def quarantine_class(name: str | None) -> str | None:
    """The class that --retry-quarantined names; hyphens may stand for spaces. Raises InputError if there is none."""
    from render.farm.events import KINDS

    if name is None or name == ALL:
        return name
    if (kind := name.replace("-", " ")) not in KINDS:
        raise InputError(f"unknown class '{name}' of quarantined videos; known: {', '.join(KINDS)}, {ALL}")
    return kind


RetryQuarantined = Annotated[
    str | None,
    typer.Option(
        RETRY,
        metavar="[CLASS]",
        callback=quarantine_class,
        help="Retry quarantined videos, also those in sealed shards: all, or those of one class (crash, hang, "
        "out-of-memory, missing-asset, content, refused).",
        show_default=False,
    ),
]


Videos = Annotated[int | None, typer.Option(min=1, help="Number of videos.", show_default=False)]
Frames = Annotated[int | None, typer.Option(min=2, help="Frames per video.", show_default=False)]
DatasetSeed = Annotated[int | None, typer.Option(help="Seed of the data set.", show_default=False)]
DatasetPreset = Annotated[
    str | None,
    typer.Option(help="Scene preset: diverse (default), basic, bl30k or clips, or a YAML file.", show_default=False),
]
Quality = Annotated[
    str | None,
    typer.Option(help="reference, standard (default), fast, or labels (masks only).", show_default=False),
]
Passes = Annotated[
    str | None,
    typer.Option(help="Extra passes, comma-separated: depth,flow,normal,amodal,tracks.", show_default=False),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads per process; default: cores / workers.", show_default=False)
]
Device = Annotated[str, typer.Option(help="cpu, gpu (best available), optix, cuda, hip or oneapi.")]
WorkersPerGpu = Annotated[int, typer.Option(min=1, help="Blender processes per GPU.")]
WEBHOOK_VARIABLE = "VOSFORGE_WEBHOOK"
Webhook = Annotated[
    str | None,
    typer.Option(
        envvar=WEBHOOK_VARIABLE,
        help="A URL to POST to when the first video is quarantined and when the run ends. Set the variable instead to "
        "keep it out of the list of processes.",
        show_default=False,
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        help="Serve Prometheus metrics on this port of localhost. Needs ray[default].",
        show_default=False,
    ),
]


def dataset_flags(
    videos: int | None,
    frames: int | None,
    seed: int | None,
    preset: str | None,
    quality: str | None,
    passes: str | None,
) -> dict[str, object]:
    """The flags that decide a data set's videos, except its assets, as overrides of its settings."""
    from blender_scenes.presets import preset_of
    from render.qualities import quality_settings

    names = [name.strip() for name in passes.split(",")] if passes is not None else None
    if names and len(set(names)) < len(names):
        raise InputError(f"--passes names a pass twice ({passes}): list each once")
    flags = {
        "scene": preset_of(preset) if preset else None,
        "videos": videos,
        "render.frames": frames,
        "seed": seed,
        "render.passes": names,
    }
    return given(flags) | (quality_settings(quality) if quality else {})


def given(flags: Mapping[str, object]) -> dict[str, object]:
    """The flags that were given, as overrides of settings."""
    return {key: value for key, value in flags.items() if value is not None}


def asset_flags(
    models: str | None, num_meshes: int | None, textures: Path | None, num_textures: int | None, hdris: Path | None
) -> dict[str, object]:
    """The flags of a data set's assets, as overrides of its settings."""
    return given(
        {
            "assets.models": models,
            "assets.num_meshes": num_meshes,
            "assets.textures": textures,
            "assets.num_textures": num_textures,
            "assets.hdris": hdris,
        }
    )
