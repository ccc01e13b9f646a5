"""Paused runs: they finish what is in work, start nothing new, and wait as long as it takes. Nothing is rendered."""

import json
import logging
import time

import pytest
from typer.testing import CliRunner

from render.farm import pausing
from render.farm.events import Frames
from render.farm.jobs import Dataset
from render.farm.parts import WHOLE, Part
from render.farm.pausing import MARKER, Pause, is_paused, pause, resume
from render.farm.runlog import RunLog
from render.farm.status import read_status
from tests.render.farm.inline_pool import InlinePool, render_inline
from tests.render.farm.test_failures import rendered
from tools.cli import app
from vosforge import InputError
from vosforge.errors import MachineError

ROUNDS = 50
"""So many looks at the workers a pause lasts here."""


@pytest.fixture
def dataset(tmp_path, small_config, catalog):
    return Dataset(tmp_path / "data", small_config, catalog)


@pytest.fixture
def watchful(monkeypatch):
    monkeypatch.setattr("render.farm.pausing.PERIOD", 0.0)


class Resuming:
    """Resumes after so many rounds of a paused run."""

    def __init__(self, root, rounds=ROUNDS):
        self.root, self.left = root, rounds

    def __call__(self, progress):
        if is_paused(self.root):
            self.left -= 1
            if self.left == 0:
                resume(self.root)


@pytest.mark.parametrize("part", [WHOLE, Part(2, 2)])
def test_a_paused_run_finishes_what_is_in_work_and_continues_when_resumed(
    tmp_path, small_config, catalog, watchful, caplog, part
):
    dataset = Dataset(tmp_path / "data", small_config.model_copy(update={"videos_per_shard": 1}), catalog, part)
    missing = dataset.missing()
    begun_in_pause, workers = [], 2

    def rendering(number, job):
        if job["index"] == missing[0]:
            pause(dataset.root)
        elif is_paused(dataset.root):
            begun_in_pause.append(job["index"])
        yield Frames()
        yield rendered(job)

    with caplog.at_level(logging.INFO, "vosforge"):
        done = render_inline(dataset, rendering, workers, on_progress=Resuming(dataset.root))
    assert begun_in_pause == missing[1:workers], "handed out before"
    assert done.videos_done == len(missing) and dataset.missing() == []
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"{dataset.root} is paused, no new videos start: 'vosforge resume {dataset.root}' continues",
        f"{dataset.root} continues",
    ]
    (log,) = (dataset.root / "logs").glob("run*.jsonl")
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events.index("paused") < events.index("resumed") < len(events) - 1


def test_a_pause_also_holds_the_next_run(dataset, watchful):
    pause(dataset.root)
    resuming = Resuming(dataset.root)

    def rendering(number, job):
        assert resuming.left == 0
        yield rendered(job)

    assert render_inline(dataset, rendering, 2, on_progress=resuming).videos_done == 7
    assert not (dataset.root / MARKER).exists()


class EmptyPool(InlinePool):
    """No worker is ever ready."""

    def events(self, seconds):
        time.sleep(0.01)
        return []


def test_a_run_without_workers_does_not_end_while_it_is_paused(dataset, watchful, monkeypatch):
    monkeypatch.setattr("render.farm.run.WORKER_PATIENCE", 0.2)
    monkeypatch.setattr("tests.render.farm.inline_pool.InlinePool", EmptyPool)
    pause(dataset.root)
    resuming = Resuming(dataset.root)
    with pytest.raises(MachineError, match="no worker is left"):
        render_inline(dataset, rendered, on_progress=resuming)
    assert resuming.left == 0


def test_a_folder_that_cannot_be_written_to_does_not_end_a_paused_run(dataset, watchful, monkeypatch):
    monkeypatch.setattr("render.farm.run.FOLDER_PATIENCE", 0.0)
    monkeypatch.setattr("render.farm.run.PAUSE", 0.0)
    failures = []

    def rendering(number, job):
        if not failures:
            failures.append(pause(dataset.root))
            raise MachineError("cannot write to data (No space left on device)", "No space left on device")
        yield rendered(job)

    assert render_inline(dataset, rendering, on_progress=Resuming(dataset.root)).videos_done == 7
    assert failures == [True]


def test_a_folder_that_is_not_there_resumes_nothing(dataset, watchful):
    log = RunLog(dataset.places, 7)
    look, away = Pause(dataset.root, log), dataset.root.with_name("away")
    assert not look.on()
    dataset.root.rename(away)
    assert not look.on()
    away.rename(dataset.root)
    pause(dataset.root)
    assert look.on()
    dataset.root.rename(away)
    assert look.on()
    away.rename(dataset.root)
    assert look.on()
    resume(dataset.root)
    assert not look.on()


def test_a_run_looks_for_a_pause_only_now_and_then(dataset, monkeypatch):
    looks = []
    monkeypatch.setattr(pausing, "is_paused", lambda root: looks.append(root))
    look = Pause(dataset.root, RunLog(dataset.places, 7))
    assert not any(look.on() for _ in range(1000))
    assert len(looks) == 1


def test_only_data_sets_are_paused(tmp_path):
    for change in (pause, resume):
        with pytest.raises(InputError, match=r"has no dataset\.yaml"):
            change(tmp_path)
    assert not [*tmp_path.iterdir()]


def command(*words):
    done = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def test_the_commands_say_what_they_did_and_status_says_paused(dataset):
    root = dataset.root
    assert command("resume", root) == (0, f"{root} was not paused\n")
    assert command("pause", root) == (0, f"{root} is paused: 'vosforge resume {root}' continues\n")
    assert command("pause", root) == (0, f"{root} was paused already: 'vosforge resume {root}' continues\n")
    code, told = command("status", root)
    assert code == 1 and told.startswith(f"{root}: incomplete, paused\n")
    assert f"paused       no new videos start: 'vosforge resume {root}' continues\n" in told
    assert json.loads(command("status", root, "--json")[1])["paused"] is True and read_status(root).paused
    assert command("resume", root) == (0, f"{root} is no longer paused\n")
    assert not read_status(root).paused and "paused" not in command("status", root)[1]
    assert json.loads(command("status", root, "--json")[1])["paused"] is False
    assert sorted(path.name for path in root.iterdir()) == ["catalog.jsonl", "dataset.yaml"]
