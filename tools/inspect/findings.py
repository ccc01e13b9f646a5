"""The findings of a verification: problems, remedies and their wording."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

from render.farm.jobs import DatasetConfig
from vosforge.progress import shown
from vosforge.videos import Place, VideoRow

TOLD_ONE_BY_ONE = 3
"""Up to this many consecutive unrendered videos get a line each; longer runs are listed as a range."""

Cure = Literal["requeue", "render", "manifest", "manual"]


@dataclass(frozen=True)
class Problem:
    """A problem with a video or, without ``video``, with a whole file."""

    video: str
    file: str
    """Relative to the data set's folder; empty for a video without a file."""
    what: str
    cure: Cure
    """Render it again, render it for the first time, rebuild the manifest, or leave it to the user."""


@dataclass
class Verification:
    """The findings; ``good`` maps files to the ids of their good videos."""

    path: Place
    config: DatasetConfig | None = None
    good: dict[Place, list[str]] = field(default_factory=dict)
    quarantined: dict[Place, dict[str, str]] = field(default_factory=dict)
    rows: list[VideoRow] = field(default_factory=list)
    """Manifest rows of videos in shards, read from the shards."""
    problems: dict[tuple[str, str], Problem] = field(default_factory=dict)
    """By video and file: the first problem of each."""
    frames: int = 0
    repaired: bool = False

    def add(self, video: str, file: str, what: str, cure: Cure) -> None:
        """Record a problem, unless the same video in the same file already has one."""
        self.problems.setdefault((video, file), Problem(video, file, what, cure))

    def leave_manifest(self) -> None:
        """Record that the manifest is not rebuilt because a shard is unreadable."""
        for key, problem in self.problems.items():
            if problem.cure == "manifest":
                self.problems[key] = replace(problem, cure="manual")

    def bad(self) -> set[str]:
        """The ids of the videos that must be rendered (or imported) again."""
        return {problem.video for problem in self.problems.values() if problem.cure in ("requeue", "render")} - {""}

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong, or everything was repaired."""
        return not self.problems or (self.repaired and all(p.cure != "manual" for p in self.problems.values()))

    def lines(self) -> Iterator[str]:
        """One line for each bad video: id, file, what is wrong, the remedy."""
        ordered = sorted(self.problems.values(), key=lambda problem: (problem.video, problem.file))
        for alike, group in groupby(ordered, key=lambda problem: (problem.what, problem.cure)):
            run = list(group)
            if alike[1] == "render" and len(run) > TOLD_ONE_BY_ONE:
                run = [Problem(f"{run[0].video} to {run[-1].video} ({len(run)} videos)", "", *alike)]
            for problem in run:
                yield ": ".join(filter(None, (problem.video, problem.file, problem.what, self._remedy(problem.cure))))

    def summary(self) -> str:
        """A one-sentence summary of good and bad videos."""
        good = len({video for videos in self.good.values() for video in videos} - self.bad())
        missing = sum(map(len, self.quarantined.values()))
        kept = f"{good} good videos with {self.frames} frames" + (f", {missing} quarantined" if missing else "")
        files = sum(not problem.video for problem in self.problems.values())
        others = f" and {files} bad files" if files else ""
        videos = len({problem.video for problem in self.problems.values()} - {""})
        found = f"{shown(self.path)}: {kept}" + (f"; {videos} bad or missing videos{others}" if self.problems else "")
        if self.repaired and self.bad():
            return f"{found}; all are queued: 'vosforge render {shown(self.path)}' renders them"
        return found

    def _remedy(self, cure: Cure) -> str:
        folder = shown(self.path if self.path.is_dir() else self.path.parent.parent)
        if self.repaired:
            return {"requeue": "queued", "render": "queued", "manifest": "rebuilt", "manual": "left unchanged"}[cure]
        if cure == "manual":
            return "check it by hand"
        if self.config is None:
            return "import it again, or copy it again from an intact source"
        if cure == "render":
            return f"'vosforge render {folder}' renders it"
        done = "queues it for rendering" if cure == "requeue" else "rebuilds it"
        return f"'vosforge verify {folder} --repair' {done}"
