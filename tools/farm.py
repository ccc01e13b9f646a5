"""The commands about a data set that is, or will be, rendered: ``vosforge status`` and ``vosforge estimate``."""

import json
from typing import Annotated

import typer

from vosforge.log import console


def status(
    out: Annotated[str, typer.Argument(help="A data set that render works on, or did, as a path or URL.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: seconds, bytes, counts an hour.")] = False,
) -> None:
    """Say how far a data set is: videos done, running, missing and quarantined, rate, time left, and each worker.

    Reads files only, from any machine that sees the folder, also while a run works on it. Exits with 0 if all videos
    are rendered, 1 if some are missing and no run is under way, 3 if only quarantined ones are missing, 4 while a run
    is under way.
    """
    from render.farm.status import EXIT_CODES, read_status
    from tools.commands.status import status_json, status_lines, workers_table
    from vosforge.videos import place

    found = read_status(place(out))
    if as_json:
        typer.echo(json.dumps(status_json(out, found), indent=2))
    else:
        for line in status_lines(out, found):
            typer.echo(line)
        for run in found.alive:
            console.print(workers_table(run))
    raise typer.Exit(EXIT_CODES[found.state])
