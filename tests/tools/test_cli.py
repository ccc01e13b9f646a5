import errno
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from render.farm.process import BlenderUnusableError, cards_of
from tests.render.conftest import make_record
from tests.tools.help import leaf, leaves
from tests.tools.painted import painted_catalog, painted_dataset
from tools.cli import app, main
from vosforge.videos import stage_video

COMMANDS = sorted(leaves())


def run(*words, **options):
    command = [sys.executable, "-m", "tools.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def shown_help(command):
    words = [*command.split()[1:], "--help"]
    return CliRunner().invoke(app, words, prog_name="vosforge", env={"COLUMNS": "200"}).output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_an_example_that_runs(command):
    lines = shown_help(command).splitlines()
    last = [line.strip() for line in lines if line.strip()][-1]
    assert last.startswith(f"Example: {command}")
    typed = last.removeprefix("Example: vosforge ").partition(" > ")[0]
    called, words = leaf(shlex.split(typed))
    called.make_context(called.name, words)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(command):
    called, _ = leaf(command.split()[1:])
    assert called.help
    assert all(parameter.help for parameter in called.params), command


def test_help_lists_the_commands():
    done = run("--help", env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0
    assert all(f" {command.split()[1]} " in done.stdout for command in COMMANDS)
    assert done.stdout.strip().splitlines()[-1].strip() == "Example: vosforge demo"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["view", "nowhere"], "nowhere does not exist"),
        (["render", "out", "--set", "vidoes=3"], "did you mean 'videos'"),
        (["render", "out", "--set", "render.samples=none"], "'render.samples' cannot be 'none'"),
        (["render", "out", "--device", "tpu"], "unknown device 'tpu'; known: cpu, gpu, optix, cuda, hip, oneapi"),
        (["render", "out", "--config", "absent.yaml"], "cannot read the configuration absent.yaml"),
        (["demo", "--set", "rounds=0"], "'rounds' cannot be 0"),
        (["demo", "--video", "nowhere"], "there is no folder nowhere"),
        (["train", "nowhere", "out"], "there is no folder nowhere to train on"),
        (["train", "nowhere", "out", "--network", "stm"], "unknown network 'stm'"),
        (["train", "nowhere", "out", "--recipe", "quick"], "unknown recipe 'quick'"),
        (["export", "nowhere", "out", "--format", "davis"], "nowhere is not a rendered data set"),
        (["export", "nowhere", "out", "--format", "voc"], "unknown format 'voc'"),
        (["import", "nowhere", "out"], "nowhere does not exist"),
        (["import", "nowhere", "out", "--format", "voc"], "unknown format 'voc' to import"),
        (["infer", "nowhere", "out"], "nowhere does not exist"),
        (["verify", "nowhere"], "nowhere is neither a data set nor a shard"),
        (["verify", ".", "--repair"], "no dataset.yaml"),
        (["stats", "nowhere"], "nowhere is not a rendered data set"),
        (["assets", "install", "shapenet"], "unknown pack 'shapenet'"),
        (["assets", "list", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2_and_writes_nothing(tmp_path, words, says):
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_exits_with_2():
    assert run("render", "out", "--assets", "nothing").returncode == 2


@pytest.mark.blender
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    missing = next((kind for kind in ("gpu", "hip", "oneapi") if not there(kind)), None)
    if missing is None:
        pytest.skip("this machine has every kind of GPU")
    done = run("render", "out", "--videos", "1", "--device", missing, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("vosforge: Cycles finds no ") and done.stderr.endswith("cpu\n")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    done = run("render", "out", "--videos", "1", "--address", address, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"vosforge: nothing answers at {address}, where a Ray cluster should be")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def there(device):
    try:
        return cards_of(device) > 0
    except BlenderUnusableError:
        return False


def test_rendering_into_an_imported_data_set_is_refused(tmp_path):
    (tmp_path / "import.json").write_text("{}")
    refused = run("render", str(tmp_path), "--videos", "1")
    assert refused.returncode == 2 and "holds imported videos" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["import.json"]


@pytest.mark.parametrize(
    ("quarantined", "missing", "code", "says"),
    [
        (None, 0, 0, ""),
        (4, 0, 3, "complete except for 1 quarantined videos"),
        (4, 2, 1, "2 videos of data are missing"),
    ],
)
def test_what_a_data_set_lacks_after_a_run_is_its_exit_code(
    tmp_path, monkeypatch, capsys, quarantined, missing, code, says
):
    monkeypatch.chdir(tmp_path)
    dataset = painted_dataset(Path("data"), quarantined)
    if missing:  # as a run leaves videos whose process was killed
        dataset.shard_path(0).unlink()
        stage_video(dataset.staged_path(2), make_record(2))
    monkeypatch.setattr("tools.commands.rendering.render_with_progress", lambda dataset, *_: dataset.manifest())
    monkeypatch.setattr(sys, "argv", ["vosforge", "render", "data"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code or 0) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("part", "code", "videos"), [("1/2", 0, 4), ("2/2", 3, 2), ("1/1", 3, 6)])
def test_a_part_answers_for_its_own_videos(tmp_path, monkeypatch, capsys, part, code, videos):
    dataset = painted_dataset(tmp_path / "data")
    monkeypatch.setattr("render.farm.threads.ThreadPool", None)  # nothing is missing
    monkeypatch.setattr(sys, "argv", ["vosforge", "render", str(dataset.root), "--part", part])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code or 0) == code
    told = capsys.readouterr()
    assert f"{videos} videos of part {part} in" in told.out.replace("\n", " ")


def test_preparing_pins_settings_and_assets_and_renders_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.commands.rendering.build_catalog", lambda *_: painted_catalog())
    monkeypatch.setattr("tools.commands.rendering.render_with_progress", None)
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["vosforge", "render", str(tmp_path / "data"), "--prepare-only"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    found = {path.name for path in (tmp_path / "data").iterdir()}
    assert found == {"dataset.yaml", "catalog.jsonl", ".lock-preparing"}


def test_a_full_disk_is_one_sentence_whatever_the_command(monkeypatch, capsys, tmp_path):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/view")

    monkeypatch.setattr("tools.inspect.view.view_video", refuse)
    monkeypatch.setattr("tools.inspect.view.open_video", lambda where: where)
    monkeypatch.setattr(sys, "argv", ["vosforge", "view", "data"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "vosforge: cannot use runs/view (No space left on device): free some space, or choose another path\n"
    )
