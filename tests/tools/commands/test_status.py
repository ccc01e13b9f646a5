"""How ``vosforge status`` says what it read. What it reads is tested in tests/render/farm/test_status.py."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from render.farm.jobs import Dataset
from render.farm.status import Span, Status
from tests.render.farm.test_status import moments, run
from tests.tools.painted import CONFIG, painted_catalog, painted_dataset
from tools.cli import app
from tools.commands.status import duration, duration_span, status_lines
from vosforge.files import write_sealed


def asked(*words):
    return CliRunner().invoke(app, ["status", *map(str, words)], env={"COLUMNS": "200"})


def working(root, **changes):
    """Let a run be under way on a data set."""
    now = run(moments((0, 0), (3600, 3600), (7200, 10800)), 5400).now
    changes = {"time": datetime.now(UTC)} | changes
    write_sealed(root / "logs" / "status.json", now.model_copy(update=changes).model_dump_json())


def test_each_state_has_an_exit_code(tmp_path):
    missing = Dataset(tmp_path / "missing", CONFIG, painted_catalog()).root
    whole, quarantined = (painted_dataset(tmp_path / str(index), index).root for index in (None, 4))
    assert [asked(root).exit_code for root in (whole, missing, quarantined)] == [0, 1, 3]
    working(missing)
    assert asked(missing).exit_code == asked(missing, "--json").exit_code == 4
    working(missing, time=datetime.now(UTC) - timedelta(hours=1))
    assert asked(missing).exit_code == 1
    assert "has written nothing for 1 h 0 min: it was killed" in asked(missing).output
    working(missing, outcome="interrupted")
    assert "process 1 on here ended 0 s ago: interrupted" in asked(missing).output


def test_a_run_is_told_with_its_workers(tmp_path):
    root = Dataset(tmp_path / "data", CONFIG, painted_catalog()).root
    working(root, failures={"hang": 2, "crash": 1})
    lines = asked(root).output.splitlines()
    assert lines[0].endswith("data: running")
    text = "\n".join(lines)
    assert "videos       0 of 7 done, 7 missing\nshards       0 of 3 sealed\n" in text
    assert "running      2 of the missing ones\n" in text
    assert "rate         540.0 videos/h, 5,400 frames/h over the last 2 h 0 min\n" in text
    assert "time left    1 h 0 min (45 min to 1 h 30 min)\n" in text
    assert "failures     hang 2, crash 1; failed videos are tried again\n" in text
    table = [line.split() for line in lines[-3:]]
    assert table[0][:3] == ["0", "here", "-"]
    assert table[1] == ["1", "here", "5", "0", "9", "s", "3", "s", "ago", "unknown"]


def test_json_says_the_same(tmp_path):
    root = painted_dataset(tmp_path / "data").root
    working(root)
    told = json.loads(asked(root, "--json").output)
    assert (told["done"], told["missing"], told["quarantined"], told["state"]) == (6, 0, {"other": 1}, "running")
    assert told["seconds_left"] == {"expected": 3600, "low": 2700, "high": 5400}
    assert told["runs"][0]["alive"] and told["runs"][0]["rate"]["frames"] == 5400
    assert [worker["video"] for worker in told["runs"][0]["workers"]] == [None, 5, 10]


def test_a_folder_that_no_run_began_is_refused(tmp_path):
    refused = asked(tmp_path)
    assert "has no dataset.yaml" in str(refused.exception) and refused.exception.exit_code == 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "60 min"),
        (3600, "1 h 0 min"),
        (3599 + 3600, "2 h 0 min"),
        (86399, "24 h 0 min"),
        (86400 * 9.5, "9 d 12 h"),
    ],
)
def test_durations_are_short(seconds, words):
    assert duration(seconds) == words


def test_a_range_that_is_unknown_says_so():
    assert duration_span(Span(60, 45, None)) == "1 min (45 s or more)"
    assert duration_span(Span(60, 60, 60)) == "1 min, too early for a range"
    assert "time left" not in "".join(status_lines("data", Status(7, 7, {}, 3, 3, ())))
