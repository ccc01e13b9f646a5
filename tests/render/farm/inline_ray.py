"""Ray and Blender in this process: what a run makes of its workers' events, without starting either."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from render.farm.process import Event

Rendering = Callable[[int, Event], Iterator[Event]]
"""What Blender process ``number`` does with a job."""


def install(monkeypatch: pytest.MonkeyPatch, rendering: Rendering) -> None:
    """Put plain objects in the place of Ray's actors, generators in that of its streams: the oldest is always ready."""

    def actor_class(kind: type) -> Any:
        def made(*arguments: object) -> Any:
            actor = kind(*arguments)
            return SimpleNamespace(run=SimpleNamespace(options=lambda **_: SimpleNamespace(remote=actor.run)))

        return SimpleNamespace(remote=made)

    class Blender:
        def __init__(self, log: Path, *_: object) -> None:
            self.number = int(log.stem.removeprefix("blender-"))

        def run(self, job: Event) -> Iterator[Event]:
            return rendering(self.number, job)

    for name in ("init", "shutdown"):
        monkeypatch.setattr(f"ray.{name}", lambda *_, **__: None)
    monkeypatch.setattr("ray.remote", lambda **_: actor_class)
    monkeypatch.setattr("ray.wait", lambda streams, **_: (streams[:1], streams[1:]))
    monkeypatch.setattr("ray.get", lambda event: event)
    monkeypatch.setattr("render.farm.cluster.BlenderProcess", Blender)
