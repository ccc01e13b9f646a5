"""What the driver does for a video does not depend on how many videos there are: counted with a real Ray."""

import builtins
import os
from collections import Counter

import pytest

from assets.store import AssetStore
from benchmarks.farm import CHILD, dataset_of
from render.farm.layout import Resources
from vosforge.videos import ShardSet

pytestmark = pytest.mark.ray
cluster = pytest.importorskip("render.farm.cluster", exc_type=ImportError)

CALLS = ("stat", "lstat", "open", "scandir", "listdir", "unlink", "rename", "replace", "mkdir", "fsync", "chmod")
"""The functions of ``os`` that ask or change a file system."""


def counted(monkeypatch, root, videos):
    """What the driver asks of the file system and of Ray while ``videos`` videos are made."""
    count = Counter()

    def counting(name, function):
        def call(*arguments, **named):
            count[name] += 1
            return function(*arguments, **named)

        return call

    dataset = dataset_of(root / "data", videos)
    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counting("files", getattr(os, name)))
        patch.setattr(builtins, "open", counting("files", builtins.open))
        patch.setattr("ray.get", counting("messages", cluster.ray.get))
        patch.setattr(cluster._RayPool, "submit", counting("messages", cluster._RayPool.submit))
        done = cluster.render_dataset(dataset, AssetStore(root / "store"), Resources(workers=2), start=CHILD)
    assert (done.videos_done, done.quarantined, done.left) == (videos, 0, 0)
    assert len(ShardSet(dataset.root).videos) == videos and not any((dataset.root / "staging").iterdir())
    return {name: number / videos for name, number in count.items()}


def test_a_video_costs_the_driver_as_much_among_twice_as_many(tmp_path, monkeypatch):
    few, many = (counted(monkeypatch, tmp_path / str(videos), videos) for videos in (60, 120))
    assert few.keys() == many.keys() == {"files", "messages"}
    for name in few:
        assert many[name] <= 1.05 * few[name], (few, many)
