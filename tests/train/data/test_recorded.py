"""Fusion's recorded data against the way it was made before: everything at once, in memory."""

import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mivos_models import InteractiveRunner, Propagation
from tests.kills import killed_in_a_write
from train.data import recorded
from train.data.augment import Augmentation, Geometry
from train.data.fusion_data import FusionDataset
from train.data.recorded import fingerprint, record_references
from train.data.sources import Mix, OpenSource
from train.recipes import RECIPES
from train.settings import FusionSettings
from vosforge import InputError, VOSForgeError
from vosforge.videos.video import MemoryVideo

SETTINGS = FusionSettings(iterations=4, batch=3, augmentation=Augmentation(geometry=Geometry(crop=64)), between=True)
DEMO = RECIPES["demo"].fusion.model_copy(
    update={"short_side": 56, "augmentation": Augmentation(geometry=Geometry(crop=48, cubic=False)), "num_videos": 2}
)


class InMemory:
    """The slow obvious twin of `RecordedVideo`: all frames and results in memory."""

    def __init__(self, video: MemoryVideo, propagation: Propagation, settings: FusionSettings) -> None:
        frames, truth = video.frames(), np.where(video.masks() == 255, 0, video.masks()).astype(np.uint8)
        ids = sorted(int(i) for i in np.unique(truth) if i)
        for number, label in enumerate(ids, start=1):
            truth[truth == label] = number
        if settings.short_side is not None:
            scale = settings.short_side / min(truth.shape[1:])
            size = (round(truth.shape[2] * scale), round(truth.shape[1] * scale))
            frames = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
            truth = np.stack([cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) for mask in truth])
        self.num_frames, self.all_frames, self.all_truth = len(frames), frames, truth
        self.all_results, self.areas = {}, {}
        for r in np.linspace(0, len(frames) - 1, settings.references).round().astype(int).tolist():
            runner = InteractiveRunner(propagation, frames, max(len(ids), 1), mem_every=settings.mem_every)
            runner.interact(r, truth[r])
            probabilities = np.stack([runner.probabilities(t)[1:] for t in range(len(frames))], axis=1)
            self.all_results[r] = (probabilities * 255).astype(np.uint8)
            self.areas[r] = None

    def objects_at(self, t: int, min_pixels: int) -> set[int]:
        return {int(i) for i in np.flatnonzero(np.bincount(self.all_truth[t].ravel()) > min_pixels) if i}

    def frame(self, t: int) -> np.ndarray:
        return self.all_frames[t]

    def truth(self, t: int) -> np.ndarray:
        return self.all_truth[t]

    def results(self, references: Any, labels: np.ndarray, t: int) -> list[np.ndarray]:
        return [self.all_results[r][labels - 1, t] for r in references]


@pytest.fixture(scope="module")
def videos(make_video: Any) -> list[MemoryVideo]:
    return [make_video(seed, num_frames=5, height=64, width=80) for seed in range(3)]


@pytest.fixture(scope="module")
def network() -> Propagation:
    torch.manual_seed(0)
    return Propagation(18, 0.125).eval()


def equal(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@contextmanager
def propagations() -> Iterator[list[str]]:
    """The ids of the videos that are propagated meanwhile."""
    done: list[str] = []
    real = recorded._record
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorded, "_record", lambda video, *rest: (real(video, *rest), done.append(video.id)))
        yield done


@pytest.mark.parametrize("settings", [SETTINGS, DEMO])
def test_samples_are_those_of_results_in_memory(videos: Any, network: Any, settings: Any, tmp_path: Path) -> None:
    kept = record_references(videos, network, settings, tmp_path)
    chosen = {videos[video.index].id for video in kept}
    twins = [InMemory(video, network, settings) for video in videos if video.id in chosen]
    assert len(kept) == (settings.num_videos or 3)
    ours, theirs = FusionDataset(kept, settings), FusionDataset(twins, settings)  # type: ignore[arg-type]
    assert ours.pairs == theirs.pairs
    assert all(equal(ours[index], theirs[index]) for index in range(12))


def test_recorded_data_is_pickled_without_its_content(videos: Any, network: Any, tmp_path: Path) -> None:
    kept = record_references(videos[:1], network, SETTINGS, tmp_path)
    data = FusionDataset(kept, SETTINGS)
    first = data[0]
    assert equal(first, pickle.loads(pickle.dumps(data))[0])
    (entry,) = kept
    assert len(pickle.dumps(replace(entry, videos=[]))) < 1000


def test_what_is_recorded_is_not_propagated_again(videos: Any, network: Any, tmp_path: Path) -> None:
    with propagations() as done:
        record_references(videos[:2], network, SETTINGS, tmp_path)
        record_references(videos, network, SETTINGS, tmp_path)
        assert done == [video.id for video in videos]
        record_references(videos[:1], network, SETTINGS.model_copy(update={"mem_every": 2}), tmp_path)
        changed = MemoryVideo(videos[0].id, videos[0].frames()[::-1], videos[0].masks()[::-1])
        record_references([changed], network, SETTINGS, tmp_path)
        assert len(done) == 5


def test_other_weights_are_other_results(network: Any) -> None:
    torch.manual_seed(1)
    other = Propagation(18, 0.125).eval()
    assert fingerprint(network, SETTINGS) != fingerprint(other, SETTINGS)
    assert fingerprint(network, SETTINGS) == fingerprint(network, SETTINGS.model_copy(update={"lr": 1.0, "seed": 3}))


def test_a_killed_recording_resumes(videos: Any, network: Any, tmp_path: Path) -> None:
    whole = record_references(videos, network, SETTINGS, tmp_path / "whole")
    sizes = sorted(video.path.stat().st_size for video in whole)

    def job() -> None:
        torch.set_num_threads(1)
        record_references(videos, network, SETTINGS, tmp_path / "killed")

    assert killed_in_a_write(sizes[-1] - 100, job)
    left = [path for path in (tmp_path / "killed").rglob("*") if path.is_file()]
    assert any(path.name.startswith(".writing-") for path in left)
    with propagations() as done:
        kept = record_references(videos, network, SETTINGS, tmp_path / "killed")
    assert 1 <= len(done) <= 3
    assert sorted(os.listdir(kept[0].path.parent)) == sorted(os.listdir(whole[0].path.parent))  # noqa: PTH208
    assert [video.path.read_bytes() for video in kept] == [video.path.read_bytes() for video in whole]


def test_a_damaged_file_is_named(videos: Any, network: Any, tmp_path: Path) -> None:
    (video,) = record_references(videos[:1], network, SETTINGS, tmp_path)
    video.path.write_bytes(video.path.read_bytes()[:3000])
    with pytest.raises(VOSForgeError, match=r"\.h5 is damaged .*: delete it and train again"):
        record_references(videos[:1], network, SETTINGS, tmp_path)
    with pytest.raises(VOSForgeError, match="delete it and train again"):
        replace(video, areas={}).truth(0)


def test_processes_share_the_work(videos: Any, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "world", lambda: 2)
    results = []
    for number in (1, 0):
        monkeypatch.setattr(recorded, "rank", lambda number=number: number)
        with propagations() as done:
            results.append([video.path for video in record_references(videos, network, SETTINGS, tmp_path)])
        assert done[:1] == ([videos[1].id] if number else [])
    assert results[0] == results[1]
    with ThreadPoolExecutor(2) as pool, propagations() as done:
        jobs = [pool.submit(record_references, videos, network, SETTINGS, tmp_path / "both") for _ in range(2)]
        assert [video.path.name for video in jobs[0].result()] == [path.name for path in results[0]]
        assert len(jobs[1].result()) == 3 and len(done) == 3


def test_a_mix_is_propagated_through_without_its_stills(videos: Any, network: Any, tmp_path: Path) -> None:
    short = MemoryVideo("short", videos[2].frames()[:2], videos[2].masks()[:2])
    mix = Mix([OpenSource(videos[:1], stills=True), OpenSource([videos[1], short, videos[2]])])
    kept = record_references(mix, network, SETTINGS, tmp_path)
    alone = record_references(videos[1:], network, SETTINGS, tmp_path)
    assert [video.path for video in kept] == [video.path for video in alone]
    assert equal(FusionDataset(kept, SETTINGS)[1], FusionDataset(alone, SETTINGS)[1])
    with pytest.raises(InputError, match="only stills"):
        record_references(Mix(mix.sources[:1]), network, SETTINGS, tmp_path)
