import pytest

from blender_scenes.spec import RenderSettings
from render.farm.layout import WORKER_MEMORY, Layout, Resources, layout_for, layout_on_nodes, worker_memory
from vosforge import InputError, VOSForgeError

PLENTY = 1000 * WORKER_MEMORY


@pytest.mark.parametrize(
    ("wanted", "videos", "cores", "memory", "cards", "layout"),
    [
        (Resources(), 100, 2, PLENTY, 0, Layout(2, 1)),
        (Resources(), 100, 1, PLENTY, 0, Layout(1, 1)),
        (Resources(), 100, 16, 4 * WORKER_MEMORY, 0, Layout(4, 4)),  # short of memory: fewer processes, more threads
        (Resources(), 100, 16, 5 * WORKER_MEMORY, 0, Layout(5, 3)),
        (Resources(), 100, 2, WORKER_MEMORY // 2, 0, Layout(1, 2)),
        (Resources(), 3, 16, PLENTY, 0, Layout(3, 5)),  # no more processes than videos
        (Resources(workers=1), 100, 4, PLENTY, 0, Layout(1, 4)),
        (Resources(workers=8), 100, 2, WORKER_MEMORY, 0, Layout(8, 1)),  # who asks for more than fits gets it
        (Resources(threads=2), 100, 8, PLENTY, 0, Layout(4, 2)),
        (Resources(threads=4), 100, 2, PLENTY, 0, Layout(1, 4)),
        (Resources(workers=3, threads=3), 100, 2, PLENTY, 0, Layout(3, 3)),
        (Resources(device="gpu"), 100, 16, PLENTY, 2, Layout(4, 4)),
        (Resources(device="optix", workers_per_gpu=3), 100, 16, PLENTY, 1, Layout(3, 5)),
        (Resources(device="gpu"), 100, 2, PLENTY, 4, Layout(2, 1)),
        (Resources(device="cuda", workers=9), 100, 16, PLENTY, 1, Layout(2, 8)),  # a third would wait endlessly
    ],
)
def test_a_machine_is_dealt_out(wanted, videos, cores, memory, cards, layout):
    assert layout_for(wanted, videos, cores=cores, memory=memory, worker=WORKER_MEMORY, cards=cards) == layout


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": {"node:127.0.0.1": 1.0, **resources}}


NODES = [
    node(CPU=4.0, memory=9e9),
    node(CPU=8.0, memory=3.5e9, GPU=1.0),
    node(memory=9e9),
    node(CPU=8.0, memory=0.5e9),
    node(alive=False, CPU=8.0, memory=9e9),
]


@pytest.mark.parametrize(
    ("wanted", "layout"),
    [
        (Resources(address="a"), Layout(7, 1)),  # four by cores, three by memory
        (Resources(address="a", workers=99), Layout(7, 1)),
        (Resources(address="a", workers=2), Layout(2, 1)),
        (Resources(address="a", threads=2), Layout(5, 2)),
        (Resources(address="a", device="gpu"), Layout(2, 1)),
    ],
)
def test_a_cluster_is_given_no_more_than_fits_on_its_nodes(wanted, layout):
    assert layout_on_nodes(wanted, NODES, 100, int(1e9)) == layout
    assert layout_on_nodes(wanted, NODES, 1, int(1e9)).workers == 1


def test_a_worker_that_fits_on_no_node_is_refused():
    with pytest.raises(VOSForgeError, match=r"needs 16 cores and 0\.9 GiB, which no node of the Ray cluster at a has"):
        layout_on_nodes(Resources(address="a", threads=16), NODES, 100, int(1e9))


def test_a_worker_takes_more_for_larger_frames_and_longer_videos():
    small, large, long = (
        worker_memory(RenderSettings(width=width, height=height, frames=frames))
        for width, height, frames in ((96, 64, 2), (768, 512, 2), (768, 512, 160))
    )
    assert WORKER_MEMORY < small < large < long < 1.3 * 2**30
    assert worker_memory(RenderSettings(passes=("depth", "flow"))) == worker_memory(RenderSettings())


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="unknown device 'tpu'; known: cpu, gpu, optix, cuda, hip, oneapi"):
        Resources(device="tpu")
