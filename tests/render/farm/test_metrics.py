"""What a run tells Prometheus, counted with a real Ray and the null child; and that its Ray listens to nobody else."""

import os
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from concurrent import futures
from contextlib import suppress
from pathlib import Path

import pytest

from assets.store import AssetStore
from benchmarks.farm import CHILD, dataset_of
from benchmarks.null_child import FRAMES
from render.farm.layout import Resources
from render.farm.metrics import Metrics
from render.farm.run import Progress
from vosforge import InputError
from vosforge.processes import short_folder
from vosforge.ray_local import SERVES_METRICS, check_metrics

VIDEOS = 12


class Told:
    """Stands in for Ray's classes of counters."""

    def __init__(self):
        self.sums, self.values = Counter(), {}

    def __call__(self, name, description, tag_keys=()):
        assert description and re.fullmatch(r"vosforge_[a-z_]+", name)
        return _One(self, name, tag_keys)


class _One:
    def __init__(self, told, name, tag_keys):
        self.told, self.name, self.tag_keys = told, name, tag_keys

    def inc(self, value=1.0, tags=None):
        assert value > 0 and set(tags or ()) == set(self.tag_keys)
        self.told.sums[(self.name, *(tags or {}).values())] += value

    def set(self, value):
        self.told.values[self.name] = value


def test_frames_and_outcomes_are_counted_and_what_is_left_is_told():
    told = Told()
    metrics = Metrics(told, told)
    for frames, videos in ((0, 0), (5, 0), (5, 1), (21, 4)):
        metrics.show(Progress(frames, 90, videos, 9, 0, 0, 0, 1.0))
    for event, facts in (
        ("run started", {}),
        ("video done", {"index": 1}),
        ("video failed", {"index": 2, "trouble": "hang"}),
        ("video failed", {"index": 3, "trouble": "hang"}),
        ("video quarantined", {"index": 2, "trouble": "hang"}),
        ("shard sealed", {}),
    ):
        metrics.note(event, facts)
    assert told.values == {"vosforge_videos_left": 5}
    assert told.sums == {
        ("vosforge_frames",): 21,
        ("vosforge_videos", "done", ""): 1,
        ("vosforge_videos", "failed", "hang"): 2,
        ("vosforge_videos", "quarantined", "hang"): 1,
    }


def test_metrics_are_refused_where_they_cannot_be_served(monkeypatch):
    monkeypatch.setattr("vosforge.ray_local.SERVES_METRICS", ("pytest", "no_such_package"))
    with pytest.raises(InputError, match=r"only with no_such_package: pip install 'ray\[default\]'"):
        check_metrics(0)
    monkeypatch.setattr("vosforge.ray_local.SERVES_METRICS", ("pytest",))
    check_metrics(0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="choose another"):
            check_metrics(taken.getsockname()[1])


def rendered(root, look, **resources):
    """A real run, at which ``look`` looks when all videos are done."""
    cluster = pytest.importorskip("render.farm.cluster", exc_type=ImportError)
    seen = []

    def show(progress):
        if progress.videos_done == VIDEOS and not seen:
            seen.append(look())

    dataset = dataset_of(root / "data", VIDEOS, per_shard=5)
    cluster.render_dataset(dataset, AssetStore(root / "store"), Resources(workers=2, **resources), show, start=CHILD)
    return seen[0]


@pytest.mark.ray
def test_a_local_ray_listens_on_loopback_only(tmp_path):
    addresses = rendered(tmp_path, listening)
    assert len(addresses) >= 5, "the head's, two of its node's, and one a worker"
    assert all(address.startswith("127.") or address == "::1" for address in addresses), addresses


@pytest.mark.ray
def test_a_local_ray_serves_the_counts_of_its_run(tmp_path, monkeypatch):
    for name in SERVES_METRICS:
        pytest.importorskip(name, reason="needs ray[default]")
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "1000")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    expected = {
        "ray_vosforge_frames_total": VIDEOS * FRAMES,
        "ray_vosforge_videos_total": VIDEOS,
        "ray_vosforge_videos_left": 0,
    }

    def scraped():
        found, deadline = {}, time.monotonic() + 60
        while found != expected and time.monotonic() < deadline:
            time.sleep(1)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                lines = re.findall(r"^(\w+)(?:\{.*\})? (\S+)$", page.read().decode(), re.MULTILINE)
            found = {name: float(value) for name, value in lines if name in expected}
        return found

    assert rendered(tmp_path, scraped, metrics_port=port) == expected


RUN = """
import sys, time
from pathlib import Path
from assets.store import AssetStore
from benchmarks.farm import CHILD, dataset_of
from render.farm.cluster import render_dataset
from render.farm.layout import Resources

root, videos, address = sys.argv[1:]
dataset, store = dataset_of(Path(root) / "data", int(videos), per_shard=5), AssetStore(Path(root) / "store")
render_dataset(dataset, store, Resources(workers=2, address=address), start=CHILD)
"""


@pytest.mark.ray
def test_ray_is_told_the_counts_of_a_run(tmp_path, node):
    """As above, without ray[default]: this test stands in for the agent that a node's processes report to."""
    address, reports = node
    subprocess.run([sys.executable, "-c", RUN, str(tmp_path), str(VIDEOS), address], check=True, timeout=120)
    sums, last = Counter(), {}
    for name, value in (point for report in reports for point in points(report)):
        sums[name] += value
        last[name] = value
    assert sums["vosforge_frames"] == VIDEOS * FRAMES and sums["vosforge_videos"] == VIDEOS
    assert last["vosforge_videos_left"] == 0


@pytest.fixture
def node(monkeypatch):
    """A node of Ray's on this machine: its address, and what is reported to its agent for metrics."""
    grpc = pytest.importorskip("grpc")
    reports = []

    class Agent(grpc.GenericRpcHandler):
        def service(self, _):
            return grpc.unary_unary_rpc_method_handler(lambda report, _: reports.append(report) or b"")

    for name, value in (("AUTH_MODE", "token"), ("AUTH_TOKEN", secrets.token_hex(32)), ("USAGE_STATS_ENABLED", "0")):
        monkeypatch.setenv(f"RAY_{name}", value)
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "1000")
    agent = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Agent()])
    options = {
        "port": 6391,
        "dashboard-agent-grpc-port": agent.add_insecure_port("127.0.0.1:0"),
        "num-cpus": 2,
        "memory": 4 * 2**30,
        "object-store-memory": 80 * 2**20,
        "temp-dir": short_folder() / f"ray-{os.getpid()}",
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--include-dashboard=false"]
    command += [f"--{name}={value}" for name, value in options.items()]
    agent.start()
    head = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not reports and time.monotonic() < deadline:
            time.sleep(0.5)
        assert reports, "the node did not start"
        yield f"127.0.0.1:{options['port']}", reports
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        agent.stop(None)


def points(report):
    """The points of our metrics in a report: name and value.

    ExportMetricsServiceRequest of OpenTelemetry 1: resource_metrics = 1, scope_metrics = 2, metrics = 2; of a metric
    name = 1, gauge = 5, sum = 7, which is one of differences (aggregation_temporality = 2 is 1); data_points = 1.
    """
    for metric in (m for r in fields(report, 1) for s in fields(r, 2) for m in fields(s, 2)):
        name = fields(metric, 1)[0].decode()
        if name.startswith("vosforge"):
            for kind in fields(metric, 5) + fields(metric, 7):
                assert not fields(metric, 7) or fields(kind, 2) == [1]
                for point in fields(kind, 1):
                    yield name, fields(point, 4)[0]


def fields(message, number):
    """The values of a field of a message as protobuf writes it: bytes, integers, and eight bytes as a float."""
    found, i = [], 0

    def varint():
        nonlocal i
        value = shift = 0
        while True:
            byte, i = message[i], i + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while i < len(message):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            value, i = message[i : i + size], i + size
            if key & 7 == 1:
                (value,) = struct.unpack("<d", value)
        if key >> 3 == number:
            found.append(value)
    return found


def listening():
    """The addresses at which this process and those that it started listen."""
    sockets = {link for pid in family(os.getpid()) for link in links(pid)}
    found = []
    for family_name, file in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path("/proc/net", file).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:  # 0A: it listens
                found.append(address_of(family_name, words[1].partition(":")[0]))
    return found


def address_of(kind, written):
    """An address as Linux writes it in /proc/net: words of four bytes, each the other way round."""
    packed = b"".join(bytes.fromhex(written[i : i + 8])[::-1] for i in range(0, len(written), 8))
    return socket.inet_ntop(kind, packed).removeprefix("::ffff:")


def family(pid):
    """A process and all that descend from it."""
    children = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def links(pid):
    """What the open files of a process are."""
    found = []
    with suppress(OSError):  # it ended
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # it closed the file
                found.append(str(handle.readlink()))
    return found
