"""Says how far a data set is: lines and a table to read, or JSON for scripts."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from render.farm.status import Run, Span, Status, rate_of, seconds_left

UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """In one unit, or in two for hours and days: "45 s", "12 min", "3 h 20 min", "9 d 4 h"."""
    size, unit = next((each for each in UNITS if seconds >= each[0]), UNITS[-1])
    if size < 3600:
        return f"{seconds / size:.0f} {unit}"
    smaller, name = UNITS[UNITS.index((size, unit)) + 1]
    whole, rest = divmod(round(seconds / smaller), size // smaller)
    return f"{whole} {unit} {rest} {name}"


def duration_span(span: Span) -> str:
    """An expected duration and its range."""
    if span.low == span.high:
        return f"{duration(span.expected)}, too early for a range"
    if span.high is None:
        return f"{duration(span.expected)} ({duration(span.low)} or more)"
    return f"{duration(span.expected)} ({duration(span.low)} to {duration(span.high)})"


def status_lines(root: str, status: Status) -> Iterator[str]:
    """What there is to say of a data set and its runs, in short lines."""
    yield f"{root}: {status.state}{', paused' * status.paused}"
    yield f"videos       {status.done:,} of {status.videos:,} done, {status.missing:,} missing"
    yield f"shards       {status.sealed:,} of {status.shards:,} sealed"
    if status.running:
        yield f"running      {status.running:,} of the missing ones"
    if status.quarantined:
        yield f"quarantined  {sum(status.quarantined.values()):,} ({_counts(status.quarantined)})"
    rates = [rate for run in status.alive if (rate := rate_of(run.now.history))]
    if rates:
        videos, frames = sum(rate.videos for rate in rates), sum(rate.frames for rate in rates)
        span = max(rate.seconds for rate in rates)
        yield f"rate         {videos:,.1f} videos/h, {frames:,.0f} frames/h over the last {duration(span)}"
    if status.paused:
        yield f"paused       no new videos start: 'vosforge resume {root}' continues"
    elif left := seconds_left(status.alive):
        yield f"time left    {duration_span(left)}"
    elif status.alive:
        yield "time left    unknown: too few frames are rendered"
    for run in status.runs:
        if run.alive or status.state == "incomplete":
            yield f"run          {_about(run)}"
            if run.now.failures:
                yield f"failures     {_counts(run.now.failures)}; failed videos are tried again"


def workers_table(run: Run) -> Table:
    """The workers of a run."""
    columns = ("worker", "node", "video", "attempt", "in work for", "last frame", "memory")
    table = Table(*columns, box=None, header_style="bold")
    for worker in run.now.workers:
        place = worker.node or "waits for a node"
        if worker.video is None:
            table.add_row(str(worker.worker), Text(place), "-", "", "", "", _memory(worker.memory))
            continue
        since, silent = (None if age is None else age + run.silent for age in (worker.seconds, worker.silent))
        last = "none yet" if silent is None else f"{duration(silent)} ago"
        words = (str(worker.video), str(worker.attempt), duration(since or 0.0), last, _memory(worker.memory))
        table.add_row(str(worker.worker), Text(place), *words)
    return table


def status_json(root: str, status: Status) -> dict[str, Any]:
    """The same for scripts: seconds, bytes, and counts an hour."""
    left = None if status.paused else seconds_left(status.alive)
    return {
        "path": root,
        "state": status.state,
        "paused": status.paused,
        "videos": status.videos,
        "done": status.done,
        "running": status.running,
        "missing": status.missing,
        "quarantined": status.quarantined,
        "shards": status.shards,
        "sealed": status.sealed,
        "seconds_left": asdict(left) if left else None,
        "runs": [_run_json(run) for run in status.runs],
    }


def _run_json(run: Run) -> dict[str, Any]:
    rate = rate_of(run.now.history)
    told = run.now.model_dump(mode="json", exclude={"history"})
    return {"alive": run.alive, "silent": run.silent, "rate": asdict(rate) if rate else None} | told


def _about(run: Run) -> str:
    now = run.now
    who = f"{now.label}: " * bool(now.label) + f"process {now.pid} on {now.host}"
    if run.alive:
        workers = f"{len(now.workers):,} workers" if now.workers else "starting"
        return f"{who}, begun {duration((now.time - now.started).total_seconds() + run.silent)} ago, {workers}"
    if now.outcome is not None:
        return f"{who} ended {duration(run.silent)} ago: {now.outcome}"
    return (
        f"{who} has written nothing for {duration(run.silent)}: it was killed, its machine is gone, or it cannot write "
        "to the folder"
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in counts.items())


def _memory(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB" if size else "unknown"
