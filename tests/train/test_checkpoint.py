"""A run that is ended at any instant resumes as if nothing had happened; one of other settings is not overwritten."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.kills import calls, killed_before_call
from tests.train import runs
from train.checkpoint import differences, read_checkpoint
from train.s2m import train_s2m
from train.settings import S2MSettings
from vosforge import InputError
from vosforge.seeding import rng_for

STEPS = 12


def equal_weights(first: Path, second: Path) -> bool:
    one, two = (torch.load(path, weights_only=True) for path in (first, second))
    return all(torch.equal(one[key], two[key]) for key in one)


def test_a_killed_run_resumes_bit_for_bit(videos: Any, tmp_path: Path) -> None:
    """S2M has dropout and batch norm's statistics to resume; the run ends at a random instant, with a worker."""
    rng = np.random.default_rng()
    settings = runs.s2m(iterations=STEPS, workers=1, checkpoint_minutes=0)
    undisturbed = settings.model_copy(update={"workers": 0, "checkpoint_minutes": 10.0})
    train_s2m(videos, undisturbed, tmp_path / "whole")
    out, last = tmp_path / "killed", int(rng.integers(1, STEPS))
    process = runs.started(settings, out)
    assert process.stdout is not None
    assert any(int(line) == last for line in process.stdout)
    time.sleep(rng.uniform(0, 0.05))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    held = torch.load(out / "s2m.checkpoint.pth", weights_only=True)
    assert held["steps"] >= last - 1
    train_s2m(videos, undisturbed, out, basis=settings.model_dump_json())
    assert runs.losses(out, "s2m") == runs.losses(tmp_path / "whole", "s2m")
    assert equal_weights(tmp_path / "whole/s2m.pth", out / "s2m.pth")
    assert not list(out.glob("[!.]*.checkpoint-*"))


@pytest.fixture(scope="module")
def finished(videos: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three steps, with scores that fall after the first."""
    out = tmp_path_factory.mktemp("finished")
    settings = runs.s2m(iterations=3, workers=0, validate_every=1, keep_every=2)
    scores = iter([{"jf": 0.5, "j": 0.4}, {"jf": 0.3}, {"jf": 0.4}])

    def validate(network: torch.nn.Module, _step: int) -> dict[str, float]:
        assert not network.training
        torch.rand(5)  # what it draws is not missing in training
        return next(scores)

    train_s2m(videos, settings, out, basis=f"{settings.model_dump_json()}\nvideos\n", validate=validate)
    return out


def test_last_best_and_every_kth_are_kept(finished: Path, videos: Any, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (finished / "s2m.jsonl").read_text().splitlines()]
    assert [line["validation"]["jf"] for line in lines] == [0.5, 0.3, 0.4]
    train_s2m(videos, runs.s2m(iterations=3, workers=0), tmp_path)
    assert runs.losses(finished, "s2m") == runs.losses(tmp_path, "s2m")  # undisturbed by the validation
    assert not (tmp_path / "s2m.checkpoint.pth").exists()
    train_s2m(videos, runs.s2m(iterations=1, workers=0, warmup=2), tmp_path / "one")
    assert equal_weights(finished / "s2m.best.pth", tmp_path / "one/s2m.pth")
    assert sorted(path.name for path in finished.glob("*.step*")) == ["s2m.step2.pth"]
    held = torch.load(finished / "s2m.checkpoint.pth", weights_only=True)
    assert (held["steps"], held["best"], held["finished"]) == (3, 0.5, True)


def test_only_an_unfinished_run_of_others_is_refused(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "s2m.checkpoint.pth"
    assert read_checkpoint(path, "{}\n") is None
    shutil.copy(finished / path.name, path)
    settings = runs.s2m(iterations=3, workers=2, checkpoint_minutes=3)
    same, other = f"{settings.model_dump_json()}\nvideos\n", f"{runs.s2m(lr=1, seed=3).model_dump_json()}\nothers\n"
    assert read_checkpoint(path, same) is not None
    assert read_checkpoint(path, other) is None
    held = torch.load(path, weights_only=True)
    torch.save({**held, "finished": False}, path)
    assert read_checkpoint(path, same) is not None
    with pytest.raises(InputError, match=r"unfinished run.*\(changed: iterations, lr, seed, data\).*delete that file"):
        read_checkpoint(path, other)
    torch.save(held["network"], path)
    with pytest.raises(InputError, match="not a checkpoint of an unfinished run"):
        read_checkpoint(path, same)


def test_what_differs_between_bases() -> None:
    settings = S2MSettings().model_dump(mode="json")
    assert not {"init", "compile", "keep_every", "checkpoint_minutes"} & settings.keys()  # as networks trained before
    earlier = json.dumps(settings | {"workers": 0}) + "\nvideos\n\n"
    assert differences(earlier, f"{S2MSettings().model_dump_json()}\nvideos\n\n") == []
    assert differences(earlier, f"{S2MSettings(compile=True).model_dump_json()}\nothers\n\n") == ["compile", "data"]
    assert differences("a\nb\nc\nd\n", "a\nb\nx\n") == ["the propagation network", "the weights to start from"]
    assert differences("", "{}\n") == ["settings"]
    assert differences("{}\n\n\n", "{}\n\n\nfile\n") == ["the weights to start from"]


def test_a_torn_last_line_is_dropped(finished: Path, videos: Any, tmp_path: Path) -> None:
    held = torch.load(finished / "s2m.checkpoint.pth", weights_only=True)
    shutil.copy(finished / "s2m.checkpoint.pth", tmp_path)
    lines = (finished / "s2m.jsonl").read_bytes()
    (tmp_path / "s2m.jsonl").write_bytes(lines + b'{"step": 4, "lo')
    train_s2m(videos, runs.s2m(iterations=3, workers=0), tmp_path, basis=held["basis"])
    assert (tmp_path / "s2m.jsonl").read_bytes() == lines
    assert np.isfinite(runs.losses(tmp_path, "s2m")).all()
    assert equal_weights(finished / "s2m.pth", tmp_path / "s2m.pth")


def test_a_kill_at_any_call_loses_nothing(videos: Any, tmp_path: Path) -> None:
    """In a step, in a line of the history, in a checkpoint, in the network at the end."""
    settings = runs.s2m(iterations=3, workers=0, checkpoint_minutes=0)
    basis = settings.model_dump_json()
    whole = tmp_path / "whole"
    train_s2m(videos, settings, whole)
    made = calls(lambda: train_s2m(videos, settings, tmp_path / "counted", basis=basis))
    for share in np.linspace(0.2, 0.97, 6) + rng_for("calls").uniform(-0.02, 0.0, 6):
        out = tmp_path / f"{share}"
        assert killed_before_call(int(share * made), lambda out=out: train_s2m(videos, settings, out, basis=basis))
        train_s2m(videos, settings, out, basis=basis)
        assert runs.losses(out, "s2m") == runs.losses(whole, "s2m")
        assert equal_weights(whole / "s2m.pth", out / "s2m.pth")
