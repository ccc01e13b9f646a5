"""The commands that use trained networks: ``vosforge infer`` and ``vosforge evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from tools.options import SMALL, networks_folder, seen_side
from vosforge.errors import InputError
from vosforge.files import check_folder
from vosforge.log import console


def infer(
    video: Annotated[str, typer.Argument(help="A folder of frames, a film, or DATASET:VIDEO (path or URL).")],
    out: Annotated[Path, typer.Argument(help="Output folder: OUT/Annotations/VIDEO/00000.png and a preview.")],
    networks: Annotated[
        str, typer.Option(help="Folder of trained networks, or small: the shipped ones (a folder small: ./small).")
    ] = SMALL,
    mask: Annotated[
        Path | None, typer.Option(help="Mask of one frame: a PNG, one value per object.", show_default=False)
    ] = None,
    scribbles: Annotated[
        Path | None, typer.Option(help="DAVIS scribbles in JSON, on one or more frames.", show_default=False)
    ] = None,
    click: Annotated[
        list[str] | None,
        typer.Option(
            help="Click on an object: FRAME,X,Y with column X and row Y in pixels, as in 0,320,180. Repeatable, on one "
            "or more frames; FRAME,X,Y,OBJECT marks object 1, 2, … or the background (0).",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[int, typer.Option(min=0, help="The frame that --mask annotates.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Robot rounds, for a video with masks.")] = 3,
    short_side: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Largest shorter side of the frames as the networks see them (demo networks: 256); default: 480 for "
            "the shipped ones, else full size.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Segment a video from a mask, from scribbles or clicks, or with the DAVIS robot (if the video has masks).

    With clicks: `vosforge infer path/to/film.mp4 runs/out --click 0,320,180 --click 0,40,200,0`
    """
    from tools.commands.inference import infer_video

    check_folder(out)
    result = infer_video(
        video,
        out,
        networks_folder(networks),
        mask=mask,
        frame=frame,
        scribbles=scribbles,
        clicks=click or (),
        rounds=rounds,
        short_side=seen_side(networks, short_side),
    )
    for number, score in enumerate(result.scores, start=1):
        console.print(f"round {number}: J {score.mean_j:.3f}  F {score.mean_f:.3f}  J&F {score.j_and_f:.3f}")
    console.print("masks in", style="bold", end=" ")
    typer.echo(str(result.masks))


def evaluate(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of index masks, VIDEO/00000.png; none with --networks.",
            default_factory=list,
            show_default=False,
        ),
    ],
    truth: Annotated[
        str,
        typer.Argument(
            help="The ground truth: a data set or shard (path or URL), DAVIS, YouTube-VOS, MOSE, or any tree of masks."
        ),
    ],
    protocol: Annotated[
        str, typer.Option(help="davis17, davis16, vos-benchmark, youtube-vos, mose2 or volumetric.")
    ] = "davis17",
    split: Annotated[
        str | None, typer.Option(help="train, val, or a list in ImageSets; default: all videos.", show_default=False)
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            help="Segment TRUTH from its first masks with the networks of this folder, or small: the shipped ones.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("runs/evaluation"),
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score missing frames and videos as empty masks.")
    ] = False,
    seen: Annotated[
        Path | None,
        typer.Option(help="YouTube-VOS: meta.json of the training split; default: beside TRUTH.", show_default=False),
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="With --networks: largest shorter side of their input; default: 480 for the shipped ones, else full.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="With --networks: auto, cpu or cuda.")] = "auto",
    corrupt: Annotated[
        str | None,
        typer.Option(help="With --networks: noise, blur, brightness, jpeg or fog in the frames.", show_default=False),
    ] = None,
    strength: Annotated[int, typer.Option(help="Of --corrupt: 1, 2 or 3.")] = 1,
    adapt: Annotated[
        bool,
        typer.Option("--adapt", help="With --networks: first have a copy learn each video's first frame (seconds)."),
    ] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="With --networks: the DAVIS interactive benchmark.")
    ] = False,
    clicks: Annotated[bool, typer.Option("--clicks", help="With --interactive: clicks in place of scribbles.")] = False,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="With --interactive: mivos (propagates at interactions 3, 6, 8; default for scribbles) or every.",
            show_default=False,
        ),
    ] = None,
    interactions: Annotated[int, typer.Option(min=1, help="With --interactive: per video.")] = 8,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="With --interactive: the four rows of MiVOS's ablation.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core.", show_default=False)
    ] = None,
) -> None:
    """Score results with J and F by a published protocol: tables, JSON, CSV and a page with the worst frames.

    Several results folders are compared in one table.
    """
    from vosforge.videos import place

    check_folder(out)
    if interactive:
        if adapt:
            raise InputError("--adapt and --interactive do not go together: leave one out")
        if networks is None or results:
            raise InputError("--interactive evaluates networks: name them with --networks, and TRUTH alone")
        from tools.commands.interactive import evaluate_interactively

        report = evaluate_interactively(
            truth,
            networks_folder(networks),
            out,
            kind="clicks" if clicks else "scribbles",
            schedule=schedule,
            interactions=interactions,
            short_side=seen_side(networks, short_side),
            ablation=ablation,
            device=device,
            split=split,
        )
        for table in report.tables():
            console.print(table)
        for note in report.notes():
            console.print(note)
        typer.echo(str(out / "session.json"))
        return
    if clicks or ablation or schedule:
        raise InputError("--clicks, --ablation and --schedule belong to --interactive: add it")
    from tools.commands.evaluation import evaluate_results

    folders, notes = list(results or ()), []
    if networks is None and (corrupt is not None or short_side is not None or adapt):
        raise InputError("--corrupt, --short-side and --adapt are about what --networks segments: name networks too")
    if networks is not None:
        from tools.commands.segmenting import segment_set

        weights = networks_folder(networks)
        side = seen_side(networks, short_side)
        folders.append(
            segment_set(place(truth), weights, out, protocol, split, side, device, corrupt, strength, adapt=adapt)
        )
        kind = f"frames corrupted by {corrupt} at strength {strength}" if corrupt else "clean frames"
        notes = [f"Segmented by {networks}{', adapted to each video,' if adapt else ''} on {kind}."]
    if not folders:
        raise InputError("name results and ground truth, RESULTS TRUTH, or --networks to segment TRUTH with")
    evaluate_results(
        folders,
        place(truth),
        out,
        protocol,
        split=split,
        allow_missing=allow_missing,
        seen=seen,
        workers=workers,
        notes=notes,
    )
    typer.echo(str(out / "evaluation.html"))
