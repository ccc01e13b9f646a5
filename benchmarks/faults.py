"""A soak: real renders under continuous random faults, then compared with renders that are left alone.

    python -m benchmarks.faults runs/faults [--minutes 45] [--videos 100]

`vosforge render` renders tiny videos with two Blender processes on a local Ray, while every few seconds something is
done to it: Blender, an actor, the raylet or the driver is killed with SIGKILL, the driver gets SIGINT or SIGTERM, a
Blender process is stopped until it is killed as hung, the disk is full or read-only for a while. A driver that ended
is started again. A data set that is complete is put away, and the next one begun, with another seed; the last one is
finished undisturbed. Then `vosforge verify` checks each of them, and another run of the same command, which nobody
disturbs, must give the same masks and colours, byte for byte.

Writes ``faults.jsonl`` as it goes, then ``summary.json``, and fails if anything is missing, differs, or ended without a
fault to explain it. The disk's faults need root, who may mount; for others they are left out. Begin with a new folder.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

from benchmarks.processes import marked
from render.farm.events import kind_of
from vosforge.files import UNFINISHED
from vosforge.log import console
from vosforge.processes import end_on_sigterm, short_folder
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet

FAULTS = {
    "Blender killed": 40,
    "worker killed": 20,
    "raylet killed": 3,
    "driver killed": 2,
    "driver interrupted": 1,
    "driver terminated": 1,
    "Blender stopped": 1,
    "disk full": 4,
    "disk read-only": 4,
}
"""And how often each happens."""
PROCESSES: dict[str, Callable[[str], bool]] = {
    "Blender": lambda command: "render.blender.start" in command,
    "worker": lambda command: command.startswith("ray::_Actor"),
    "raylet": lambda command: command.split()[0].endswith("/raylet"),
}
"""The processes of each kind, by their command lines."""
SIGNALS = {
    "killed": signal.SIGKILL,
    "stopped": signal.SIGSTOP,
    "interrupted": signal.SIGINT,
    "terminated": signal.SIGTERM,
}
ENDING = ("raylet killed", "driver killed", "driver interrupted", "driver terminated", "disk full", "disk read-only")
"""Faults that may end the driver."""
GAP = (2.0, 8.0)
"""Seconds between two faults."""
MOMENT = (3.0, 25.0)
"""Seconds that a disk is full or read-only."""
GROWN = 20.0
"""A Blender process is stopped at this age in seconds: it has taken each of its steps before, so that a minute counts
as hung."""
HUNG = 240.0
"""A stopped process goes on after so many seconds; nothing else but Blender's is touched until then."""
RESTART, LOOK, REPORT, FINISH = 1.0, 0.1, 30.0, 3600.0
"""Seconds before a driver is started again; between two looks, and two lines of progress; for the last data set."""
DISK = "48m"
MAX_UNEXPLAINED = 20
TINY = ("--frames=6", "--set=render.width=96", "--set=render.height=64", "--set=render.samples=2")


def render_command(folder: Path, seed: int, videos: int) -> list[str]:
    """What an operator would type."""
    farm = (f"--videos={videos}", f"--seed={seed}", "--workers=2", "--threads=1", "--set=videos_per_shard=10")
    return [sys.executable, "-m", "tools.cli", "render", str(folder), *farm, *TINY]


class Log:
    """JSON lines, and a count of each event."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.counts: Counter[str] = Counter()

    def note(self, event: str, **facts: object) -> None:
        """Add a line."""
        self.counts[event] += 1
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class Disk:
    """A small file system that can be filled, and made read-only although files are open on it; or a plain folder.

    What is read and written is `face`, a second view of the disk: a third view, read-only, is put over it.
    """

    def __init__(self, folder: Path) -> None:
        self._disk, self.face = folder / "disk", folder / "face"
        for place in (self._disk, self.face):
            place.mkdir()
        self.mounted = not self._run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self._disk)
        if self.mounted and self._run("mount", "--bind", self._disk, self.face):
            raise OSError(f"cannot mount {self.face}")

    def fill(self) -> Callable[[], None]:
        """Fill it; returns what makes room again."""
        ballast = self._disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(2**16))
        return lambda: ballast.unlink()

    def freeze(self) -> Callable[[], None]:
        """Make it read-only; returns what makes it writable again."""
        self._run("mount", "--bind", self._disk, self.face)
        self._run("mount", "-o", "remount,bind,ro", self.face)
        return lambda: self._thaw()

    def unmount(self) -> None:
        """Give it up, with all that is on it."""
        if self.mounted:
            self._thaw()
            self._run("umount", "-l", self._disk)

    def _thaw(self) -> None:
        self._run("umount", "-l", self.face)

    def _run(self, *words: object) -> int:
        return subprocess.run([*map(str, words)], check=False, capture_output=True).returncode


class Soak:
    """Data sets that are rendered one after the other under faults."""

    def __init__(self, out: Path, videos: int, seed: int, log: Log) -> None:
        self._out, self._videos, self._log = out, videos, log
        self._rng = rng_for(seed, "soak")
        self._disk = Disk(out)
        self._mark = f"VOSFORGE_SOAK={secrets.token_hex(8)}"
        self._ray = tempfile.mkdtemp(prefix="faults-", dir=short_folder())
        self._driver: subprocess.Popen[bytes] | None = None
        self._begun = self._ended = 0.0
        """When the driver did; `_begun` is 0 while none runs."""
        self._hits: set[str] = set()
        """Faults in the life of this driver."""
        self._seen: dict[int, float] = {}
        """When each Blender process was first seen."""
        self._stopped: tuple[int, float] | None = None
        self._relief: list[tuple[float, str, Callable[[], None]]] = []
        """When which fault of the disk ends, and how."""
        self.rounds = 0
        self.unexplained = 0

    @property
    def data(self) -> Path:
        """The data set of this round."""
        return self._disk.face / f"round-{self.rounds}"

    def run(self, seconds: float) -> None:
        """Disturb for so many seconds, then let the last data set be finished."""
        began, reported = time.monotonic(), 0.0
        next_fault = began + 10
        while (now := time.monotonic()) < began + seconds:
            self._relieve(now)
            self._tend(now)
            if now >= next_fault:
                self._fault(now)
                next_fault = now + float(self._rng.uniform(*GAP))
            if now - reported > REPORT:
                reported = now
                self._log.note("progress", round=self.rounds, videos=self._finished())
            time.sleep(LOOK)
        self._log.note("left alone", round=self.rounds, videos=self._finished())
        self._relieve(float("inf"))
        self._let_go()
        last, began = self.rounds, time.monotonic()
        while self.rounds == last:
            if time.monotonic() - began > FINISH:
                raise SystemExit("the last data set is not finished")
            self._tend(time.monotonic(), again=False)
            time.sleep(LOOK)

    def end(self) -> None:
        """End every process of the soak, and unmount."""
        self._relieve(float("inf"))
        while left := self._processes():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._driver:
                self._driver.poll()
            time.sleep(LOOK)
        self._disk.unmount()
        shutil.rmtree(self._ray, ignore_errors=True)

    def _processes(self) -> dict[int, str]:
        return marked(self._mark)

    def _finished(self) -> int:
        """How many videos of this round are staged or sealed."""
        return len([*self.data.glob("staging/0*.h5")]) + 10 * len([*self.data.glob("shards/shard-*.h5")])

    def _tend(self, now: float, again: bool = True) -> None:
        """Start the driver if it ended; put a complete data set away. ``again``: begin another one then."""
        code = self._driver.poll() if self._driver else None
        if self._driver is not None and code is None:
            return
        if self._driver is not None and self._begun:
            self._log.note("driver ended", code=code, faults=sorted(self._hits), seconds=round(now - self._begun, 1))
            self._begun, self._ended = 0.0, now
            if code in (0, 3):
                self._put_away()
                if not again:
                    return
            elif not self._hits.intersection(ENDING):
                self.unexplained += 1
                self._log.note("unexplained", code=code, log=(self._out / "driver.log").read_text()[-2000:])
                if self.unexplained > MAX_UNEXPLAINED:
                    raise SystemExit(f"the driver ends again and again: see {self._out / 'driver.log'}")
        if self._driver is None or now - self._ended >= RESTART:
            self._start(now)

    def _start(self, now: float) -> None:
        key, value = self._mark.split("=")
        environment = {**os.environ, key: value, "VOSFORGE_CACHE": str(self._out / "cache"), "RAY_TMPDIR": self._ray}
        with (self._out / "driver.log").open("ab") as log:
            self._driver = subprocess.Popen(
                render_command(self.data, self.rounds, self._videos),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._begun, self._hits = now, {name for _, name, _ in self._relief}
        self._log.note("driver started", round=self.rounds, pid=self._driver.pid)

    def _put_away(self) -> None:
        self._relieve(float("inf"))
        shutil.move(self.data, self._out / f"round-{self.rounds}")
        self._log.note("data set complete", round=self.rounds)
        self.rounds += 1

    def _fault(self, now: float) -> None:
        """Do something bad, if there is something to do it to."""
        living = self._processes()
        self._seen = {pid: self._seen.get(pid, now) for pid in living}
        if self._stopped is not None and (self._stopped[0] not in living or now - self._stopped[1] > HUNG):
            self._log.note("stopped process ended", pid=self._stopped[0], seconds=round(now - self._stopped[1], 1))
            self._let_go()
        kinds = [*FAULTS] if self._stopped is None else ["Blender killed"]
        if not self._disk.mounted or self._relief:
            kinds = [kind for kind in kinds if not kind.startswith("disk")]
        weights = np.array([FAULTS[kind] for kind in kinds], float)
        kind = str(self._rng.choice(kinds, p=weights / weights.sum()))
        whose, how = kind.split()
        if whose == "disk":
            relief = self._disk.fill() if how == "full" else self._disk.freeze()
            self._relief.append((now + float(self._rng.uniform(*MOMENT)), kind, relief))
            self._hits.add(kind)
            self._log.note(kind)
            return
        victims = [*self._victims(whose, living)]
        if how == "stopped":
            victims = [pid for pid in victims if now - self._seen[pid] >= GROWN]
        if not victims:
            return
        victim = int(self._rng.choice(victims))
        with suppress(ProcessLookupError):
            os.kill(victim, SIGNALS[how])
            self._stopped = (victim, now) if how == "stopped" else self._stopped
            self._hits.add(kind)
            self._log.note(kind, pid=victim, videos=self._finished())

    def _victims(self, whose: str, living: dict[int, str]) -> Iterable[int]:
        if whose == "driver":
            return [self._driver.pid] if self._driver and self._driver.pid in living else []
        stopped = self._stopped[0] if self._stopped else None
        return (pid for pid, command in living.items() if PROCESSES[whose](command) and pid != stopped)

    def _relieve(self, now: float) -> None:
        """End the faults of the disk that lasted long enough."""
        due = [each for each in self._relief if each[0] <= now]
        self._relief = [each for each in self._relief if each[0] > now]
        for _, name, relief in due:
            relief()
            self._log.note("relief", of=name)

    def _let_go(self) -> None:
        """Let a stopped process go on, if it lives."""
        if self._stopped is not None:
            with suppress(ProcessLookupError):
                if self._stopped[0] in self._processes():
                    os.kill(self._stopped[0], signal.SIGCONT)
            self._stopped = None


def stored(root: Path) -> dict[str, tuple[bytes, bytes]]:
    """The masks and the encoded colours of all videos."""
    found = {}
    for shard in sorted(root.glob("shards/shard-*.h5")):
        with h5py.File(shard) as file:
            for name, video in file["videos"].items():
                found[name] = video["mask"][()].tobytes(), video["rgb/data"][()].tobytes()
    return found


def run_lines(root: Path) -> list[dict[str, object]]:
    """The lines of a data set's log; those that a kill broke are left out."""
    lines = []
    for line in (root / "logs/run.jsonl").read_text(errors="replace").splitlines():
        with suppress(ValueError):
            lines.append(json.loads(line))
    return lines


@dataclass(frozen=True)
class Compared:
    """A data set that was rendered under faults, beside its twin that was not."""

    videos: int
    missing: list[str]
    """The twin has them."""
    masks_differ: list[str]
    colours_differ: list[str]
    shards: int
    shards_alike: int
    """Whose files are the same, byte for byte."""
    unfinished: list[str]
    """Files in the staging folder, and hidden ones."""
    quarantined: dict[str, int]
    """By class."""
    quarantined_in_twin: dict[str, int]
    tries: int
    """Those whose end the driver lived to see."""
    failures: dict[str, int]
    verify: int
    verify_says: str
    twin: int
    """Its exit code."""
    twin_seconds: float

    @property
    def fine(self) -> bool:
        """Whether it is as it should be."""
        bad = self.missing or self.masks_differ or self.colours_differ or self.unfinished or self.verify
        return not bad and self.quarantined == self.quarantined_in_twin and self.twin in (0, 3)


def compare(out: Path, number: int, videos: int, log: Log) -> Compared:
    """Verify a round, render it once more undisturbed, and compare."""
    root, twin = out / f"round-{number}", out / f"twin-{number}"
    verify = [sys.executable, "-m", "tools.cli", "verify", str(root)]
    verified = subprocess.run(verify, check=False, capture_output=True, text=True)
    began = time.monotonic()
    with (out / "twins.log").open("ab") as file:
        environment = {**os.environ, "VOSFORGE_CACHE": str(out / "twins-cache")}
        command = render_command(twin, number, videos)
        code = subprocess.run(command, env=environment, stdout=file, stderr=file, check=False).returncode
    seconds = time.monotonic() - began
    ours, theirs, lines = stored(root), stored(twin), run_lines(root)
    both = sorted(ours.keys() & theirs.keys())
    shards = [path.name for path in root.glob("shards/*.h5")]
    found = Compared(
        videos=len(ours),
        missing=sorted(theirs.keys() - ours.keys()),
        masks_differ=[name for name in both if ours[name][0] != theirs[name][0]],
        colours_differ=[name for name in both if ours[name][1] != theirs[name][1]],
        shards=len(shards),
        shards_alike=sum(
            (root / "shards" / name).read_bytes() == (twin / "shards" / name).read_bytes() for name in shards
        ),
        unfinished=[path.name for path in (*root.glob("staging/*"), *root.rglob(f"{UNFINISHED}*"))],
        quarantined=dict(Counter(kind_of(row.reason) for row in ShardSet(root).quarantined)),
        quarantined_in_twin=dict(Counter(kind_of(row.reason) for row in ShardSet(twin).quarantined)),
        tries=sum(line["event"] in ("video done", "video failed", "video refused") for line in lines),
        failures=dict(Counter(str(line["trouble"]) for line in lines if line["event"] == "video failed")),
        verify=verified.returncode,
        verify_says=(verified.stdout + verified.stderr)[-500:],
        twin=code,
        twin_seconds=round(seconds, 1),
    )
    log.note("compared", round=number, **asdict(found))
    return found


def main() -> None:
    """Disturb, compare, sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--videos", type=int, default=100, help="videos of each data set")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    options = parser.parse_args()
    end_on_sigterm()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored, by drivers too
    options.out.mkdir(parents=True)
    out = options.out.resolve()
    log = Log(out / "faults.jsonl")
    soak = Soak(out, options.videos, options.seed, log)
    began = time.monotonic()
    try:
        soak.run(60 * options.minutes)
    finally:
        soak.end()
    seconds = time.monotonic() - began
    rounds = [compare(out, number, options.videos, log) for number in range(soak.rounds)]
    undisturbed = sum(found.twin_seconds for found in rounds)
    summary = {
        "fine": all(found.fine for found in rounds) and not soak.unexplained,
        "minutes": round(seconds / 60, 1),
        "faults": {kind: log.counts[kind] for kind in FAULTS},
        "drivers": log.counts["driver started"],
        "drivers that ended for no reason": soak.unexplained,
        "videos": sum(found.videos for found in rounds),
        "tries": sum(found.tries for found in rounds),
        "failures": sum((Counter(found.failures) for found in rounds), Counter()),
        "quarantined": sum((Counter(found.quarantined) for found in rounds), Counter()),
        "minutes undisturbed": round(undisturbed / 60, 1),
        "minutes lost": round((seconds - undisturbed) / 60, 1),
        "data sets": [asdict(found) for found in rounds],
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=1))
    console.print_json(data=summary)
    sys.exit(not summary["fine"])


if __name__ == "__main__":
    main()
