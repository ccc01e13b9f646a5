"""How a Blender process is started."""

import os
from pathlib import Path

import pytest

from blender_scenes.sample import PRESETS, sample_scene
from blender_scenes.spec import RenderSettings
from render.farm.events import Done
from render.farm.process import BlenderProcess
from tests.render.blender.test_engine import job


@pytest.mark.blender
def test_a_process_of_one_thread_has_no_helpers_and_runs_on_any_core(store, catalog, tmp_path):
    settings = RenderSettings(width=96, height=64, frames=2, samples=4)
    spec = sample_scene(PRESETS["bl30k"], settings, catalog, seed=3, index=0, split="train")
    with BlenderProcess(tmp_path / "blender.log") as blender:
        events = list(blender.run(job(spec, store, catalog, tmp_path) | {"gates": False}))
        assert isinstance(events[-1], Done), events[-1]
        threads = [int(path.name) for path in Path(f"/proc/{blender.pid}/task").iterdir()]
        busy = [thread for thread in threads if processor_seconds(blender.pid, thread) >= 0.05]
        assert len(busy) <= 3, "this one, Blender's renderer and Cycles' only thread"
        assert all(os.sched_getaffinity(thread) == os.sched_getaffinity(0) for thread in threads)


def processor_seconds(pid, thread):
    fields = Path(f"/proc/{pid}/task/{thread}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
