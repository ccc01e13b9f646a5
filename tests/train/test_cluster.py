"""How processes are laid out on the nodes of a Ray cluster, without starting one."""

import pytest

from vosforge import InputError

cluster = pytest.importorskip("train.cluster", exc_type=ImportError)
BIG, SMALL, HEAD = {"CPU": 16.0, "GPU": 4.0}, {"CPU": 6.0, "GPU": 2.0}, {"memory": 1.0}


@pytest.mark.parametrize(
    ("nodes", "processes", "gpus", "expected"),
    [
        ([BIG, SMALL, HEAD], None, True, (6, 3, True)),
        ([BIG, SMALL], 4, True, (4, 5, True)),
        ([BIG, SMALL], None, False, (2, 8, False)),
        ([BIG, SMALL], 3, False, (3, 6, False)),
        ([{"CPU": 2.0}], 2, True, (2, 1, False)),
    ],
)
def test_cores_and_gpus_are_shared_evenly(nodes, processes, gpus, expected):
    assert cluster.layout_on(nodes, processes, gpus) == expected


@pytest.mark.parametrize(
    ("processes", "gpus", "says"),
    [
        (7, True, "7 processes need a GPU each, and Ray has 6: lower --processes"),
        (23, False, "23 processes need a core each, and Ray has 22: lower --processes"),
    ],
)
def test_too_many_processes_are_refused(processes, gpus, says):
    with pytest.raises(InputError, match=says):
        cluster.layout_on([BIG, SMALL], processes, gpus)


def test_processes_of_a_node_count_and_see_its_gpus():
    places = [
        cluster.Place("a", "10.0.0.1", 5000, ("3",)),
        cluster.Place("b", "10.0.0.2", 6000, ("0",)),
        cluster.Place("a", "10.0.0.1", 7000, ("1",)),
    ]
    found = cluster.environments(places)
    assert [one["RANK"] for one in found] == ["0", "1", "2"]
    assert [one["LOCAL_RANK"] for one in found] == ["0", "0", "1"]
    assert [one["LOCAL_WORLD_SIZE"] for one in found] == ["2", "1", "2"]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["3,1", "0", "3,1"]
    assert {(one["MASTER_ADDR"], one["MASTER_PORT"], one["WORLD_SIZE"]) for one in found} == {("10.0.0.1", "5000", "3")}


def test_torchrun_and_ray_do_not_both_start_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="leave out --address and --processes, or torchrun"):
        cluster.train_on_ray(int)
