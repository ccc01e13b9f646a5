"""What a data set will cost, from a few of its videos."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.catalog import Catalog
from benchmarks.null_child import FRAMES, SIDE
from blender_scenes.spec import RenderSettings
from render.farm.estimate import Sample, Samples, estimate, sampled, take_samples
from render.farm.events import Failed, Refused
from render.farm.jobs import DatasetConfig
from vosforge import VOSForgeError

NULL = DatasetConfig(videos=10, held_out_every=0, render=RenderSettings(width=SIDE, height=SIDE, frames=FRAMES))


def test_a_data_set_of_videos_like_the_samples_costs_as_many_times_as_much():
    samples = Samples(9.0, (Sample(100.0, 2_000_000), Sample(200.0, 4_000_000)))
    cost = estimate(samples, videos=1000, frames=50, workers=16, threads=2)
    assert cost.frames_per_second == (50 / 150, 50 / 200, 50 / 100)
    assert cost.core_hours == (1000 * 150 * 2 / 3600, 1000 * 100 * 2 / 3600, 1000 * 200 * 2 / 3600)
    assert cost.size == (3e9, 2e9, 4e9)
    assert cost.seconds == (9 + 63 * 150, 9 + 63 * 100, 9 + 63 * 200), "the last turn of 16 videos is not full"
    assert cost.start_core_hours == 16 * 2 * 9 / 3600
    assert cost.usd(0.5).expected == 0.5 * (cost.core_hours.expected + cost.start_core_hours)


positive = st.floats(0.01, 1e4)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.builds(Sample, positive, st.integers(1, 10**9)), min_size=1, max_size=8),
    st.integers(1, 10**6),
    st.integers(1, 1000),
    st.integers(1, 64),
)
def test_ranges_hold_what_is_expected_and_more_workers_are_faster_for_the_same_cores(videos, count, workers, threads):
    one, more = (
        estimate(Samples(1.0, tuple(videos)), videos=count, frames=9, workers=number, threads=threads)
        for number in (workers, 2 * workers)
    )
    for cost in (one, more):
        for span in (cost.frames_per_second, cost.core_hours, cost.size, cost.seconds, cost.usd(0.1)):
            assert span.low <= span.expected * (1 + 1e-9) and span.expected <= span.high * (1 + 1e-9)
    assert more.seconds.expected <= one.seconds.expected
    assert (more.core_hours, more.size) == (one.core_hours, one.size)
    work = 3600 * one.core_hours.expected / threads
    assert one.seconds.expected >= (1 - 1e-9) * work / min(workers, count)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 1000))
def test_samples_are_different_videos_from_everywhere(count, videos):
    indices = sampled(count, videos)
    assert len(indices) == len(set(indices)) == min(count, videos)
    assert indices[0] == 0 and max(indices) < videos and indices == sorted(indices)
    assert videos - indices[-1] <= -(-videos // len(indices))


def test_samples_pass_through_a_worker_and_leave_nothing(tmp_path, store, monkeypatch):
    monkeypatch.setattr("render.farm.estimate.tempfile.tempdir", str(tmp_path))
    found = take_samples(NULL, Catalog(), store, 3, start="benchmarks.null_child")
    assert found.start_seconds > 0
    assert len(found.videos) == 3 and all(video.seconds > 0 and video.size > 10_000 for video in found.videos)
    assert not any(tmp_path.iterdir())


def test_scenes_that_are_refused_count_in_the_time_and_failures_are_told(store, monkeypatch):
    asked = []

    def answer(worker, request):
        asked.append((request.index, request.attempt))
        yield Refused("it is dark") if request.attempt < 9 or request.index else Failed("crash", "Blender died")

    monkeypatch.setattr("render.farm.worker.Worker.prove", lambda worker: None)
    monkeypatch.setattr("render.farm.worker.Worker.answer", answer)
    with pytest.raises(VOSForgeError, match="sample video 0 failed: Blender died"):
        take_samples(NULL, Catalog(), store, 1)
    assert asked == [(0, attempt) for attempt in range(NULL.attempts)]
    monkeypatch.setattr("render.farm.estimate.sampled", lambda count, videos: [5])
    with pytest.raises(VOSForgeError, match=r"sample video 5 was refused in all attempts \(it is dark\)"):
        take_samples(NULL, Catalog(), store, 1)
