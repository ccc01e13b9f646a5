"""What a run tells a webhook, over HTTP from a thread to a server of this test; and that its URL stays a secret."""

import json
import os
import socket
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.null_child import FRAMES
from render.farm import threads
from render.farm.events import Frames, Refused
from render.farm.jobs import Dataset
from render.farm.webhook import Webhook
from tests.render.farm.inline_pool import render_inline
from tests.render.farm.null_runs import CHILD, null_dataset
from tests.render.farm.test_failures import rendered
from tools.cli import main
from vosforge import InputError

SECRET = "T0psecret"
PATH = f"/services/{SECRET}?token={SECRET}"


class Server(ThreadingHTTPServer):
    """Keeps what is posted to it, and answers as it is told to."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.posts, self.status, self.location, self.delay = [], 200, None, 0.0
        self.url = f"http://127.0.0.1:{self.server_port}{PATH}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, self.headers["Content-Type"], json.loads(body)))
        time.sleep(self.server.delay)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def do_GET(self):
        self.server.posts.append("a redirect was followed")

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def dataset(tmp_path, small_config, catalog):
    return Dataset(tmp_path / "data", small_config, catalog)


def rendering(number, job):
    """Videos 1 and 4 are refused whenever they are drawn."""
    yield Frames()
    yield Refused("it is dark") if job["index"] in (1, 4) else rendered(job)


def run(url, dataset, rendering=rendering):
    with Webhook(url, str(dataset.root), "1/1") as hook:
        return render_inline(dataset, rendering, workers=2, on_note=hook.note)


def written(root):
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


def test_it_is_told_of_the_first_quarantine_and_of_the_end(server, dataset, caplog):
    run(server.url, dataset)
    assert [(path, kind) for path, kind, _ in server.posts] == [(PATH, "application/json")] * 2
    first, last = (body for _, _, body in server.posts)
    about = {"out": str(dataset.root), "part": "1/1", "host": socket.gethostname()}
    assert about.items() <= first.items() and about.items() <= last.items()
    assert (first["event"], first["index"], first["trouble"]) == ("video quarantined", 1, "refused")
    assert last["event"] == "run ended" and last["outcome"] == "finished"
    assert (last["videos"], last["videos_done"], last["frames_left"]) == (7, 5, 0)
    assert last["quarantined"] == {"refused": 2} and last["failures"] == {}
    assert 0 <= first["seconds"] <= last["seconds"] < 60
    where = f"vosforge render {dataset.root} part 1/1 on {socket.gethostname()}: "
    assert first["text"] == f"{where}video 1 is quarantined: refused: it is dark"
    assert last["text"] == f"{where}finished: 5 of 7 missing videos rendered, quarantined: refused 2"
    assert SECRET.encode() not in written(dataset.root) and SECRET not in caplog.text
    assert not [record for record in caplog.records if "webhook" in record.getMessage()]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(KeyboardInterrupt(), "interrupted"), (SystemExit(143), "terminated"), (RuntimeError("a bug"), "failed")],
)
def test_it_is_told_how_a_run_was_ended(server, dataset, error, outcome):
    def rendering(number, job):
        if job["index"] == 2:
            raise error
        yield rendered(job)

    with pytest.raises(type(error)):
        run(server.url, dataset, rendering)
    ((_, _, body),) = server.posts
    assert (body["outcome"], body["videos"]) == (outcome, 7) and 0 < body["videos_done"] < 7
    assert body.get("error") == ("a bug" if outcome == "failed" else None)


def test_it_is_told_of_what_failed_before_the_run(server, dataset):
    with pytest.raises(InputError), Webhook(server.url, "data"):
        raise InputError("there are no assets")
    ((_, _, body),) = server.posts
    assert (body["outcome"], body["error"], body["videos"]) == ("failed", "there are no assets", 0)
    assert "failed: 0 of 0 missing videos rendered (there are no assets)" in body["text"]


def answering_with_an_error(server):
    server.status = 500


def redirecting_elsewhere(server):
    server.status, server.location = 302, f"http://127.0.0.1:{server.server_port}/{SECRET}"


def redirecting_to_a_file(server):
    server.status, server.location = 307, f"file:///{SECRET}"


def saying_nothing(server):
    server.delay = 5.0


def refusing_connections(server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{free.getsockname()[1]}{PATH}"


def having_no_address(server):
    server.url = f"http://no-such-host.invalid{PATH}"


@pytest.mark.parametrize(
    "failing",
    [
        answering_with_an_error,
        redirecting_elsewhere,
        redirecting_to_a_file,
        saying_nothing,
        refusing_connections,
        having_no_address,
    ],
)
def test_its_failures_are_one_warning_without_the_url_and_change_nothing(server, dataset, caplog, monkeypatch, failing):
    monkeypatch.setattr("render.farm.webhook.TIMEOUT", 0.5)
    failing(server)
    began = time.monotonic()
    done = run(server.url, dataset)
    assert time.monotonic() - began < 4
    assert (done.videos_done, done.quarantined) == (7, 2)
    warnings = [record.getMessage() for record in caplog.records if "webhook" in record.getMessage()]
    assert len(warnings) == 1 and warnings[0].startswith("the webhook at ")
    assert SECRET not in caplog.text and "services" not in caplog.text and "token" not in caplog.text
    assert SECRET.encode() not in written(dataset.root)
    assert "a redirect was followed" not in server.posts


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"ftp://host/{SECRET}",
        f"file:///{SECRET}",
        f"//host/{SECRET}",
        f"https:///{SECRET}",
        f"https://user:{SECRET}@host/",
        f"http://host:99999/{SECRET}",
        f"http://host/{SECRET} {SECRET}",
        f"http://host/{SECRET}\n",
        f"http://[host/{SECRET}",
        f"http://höst/{SECRET}",
    ],
)
def test_another_url_is_refused_without_being_shown(tmp_path, monkeypatch, capsys, url):
    with pytest.raises(InputError, match="no URL of the form") as refused:
        Webhook(url, "data")
    assert SECRET not in str(refused.value)
    monkeypatch.setattr(sys, "argv", ["vosforge", "render", str(tmp_path / "data"), "--webhook", url])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and SECRET not in "".join(capsys.readouterr())
    assert not (tmp_path / "data").exists()


def test_a_url_in_the_environment_is_kept_from_the_processes_and_files_of_a_run(server, tmp_path, monkeypatch, capsys):
    dataset = null_dataset(tmp_path / "data", videos=3)
    monkeypatch.setattr(threads, "render_here", partial(threads.render_here, start=CHILD))
    monkeypatch.setenv("VOSFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VOSFORGE_WEBHOOK", server.url)
    monkeypatch.setattr(sys, "argv", ["vosforge", "render", str(dataset.root), "--part", "1/1", "--workers", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    ((path, _, body),) = server.posts
    assert path == PATH and (body["outcome"], body["part"]) == ("finished", "1/1")
    assert (body["videos_done"], body["frames_done"]) == (3, 3 * FRAMES)
    assert "VOSFORGE_WEBHOOK" not in os.environ
    assert SECRET.encode() not in written(tmp_path) and SECRET not in "".join(capsys.readouterr())


@pytest.mark.parametrize("words", [["--part", "1/2"], ["--address", "127.0.0.1:1"]])
def test_a_port_for_metrics_is_refused_without_a_ray_of_its_own(tmp_path, monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["vosforge", "render", str(tmp_path / "data"), "--metrics-port", "9301", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and "--metrics-port is for a Ray of this run's own" in capsys.readouterr().err
