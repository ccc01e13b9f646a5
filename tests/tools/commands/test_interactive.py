"""Interactive evaluation on a tiny DAVIS tree and on shards, with untrained networks."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from mivos_models import S2M, Fusion, Propagation, save_network
from mivos_models.networks import shipped
from tests.blobs import blob_video
from tools.cli import main
from tools.commands.interactive import evaluate_interactively
from tools.commands.session_report import InteractiveReport
from tools.convert.importing import import_dataset
from train.evaluation.metrics import score_masks
from train.evaluation.samples import open_subjects
from vosforge import InputError
from vosforge.videos.palette import PALETTE

T, H, W = 4, 48, 64


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    for kind, network in (("s2m", S2M(18, 0.125)), ("propagation", Propagation(18, 0.125)), ("fusion", Fusion(0.5))):
        save_network(network.eval(), folder / f"{kind}.pth")
    return folder


def write_tree(root: Path, *names: str) -> None:
    """Videos of two objects; in the last frame a third one that the first does not show, and void."""
    for seed, name in enumerate(names):
        video = blob_video(seed, num_frames=T, height=H, width=W, num_objects=2)
        frames, masks = root / "JPEGImages/480p" / name, root / "Annotations/480p" / name
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        labels = video.masks().copy()
        labels[-1, :4, :8], labels[-1, :4, 8:16] = 3, 255
        for t in range(T):
            Image.fromarray(video.frame(t)).save(frames / f"{t:05d}.jpg")
            image = Image.fromarray(labels[t], mode="P")
            image.putpalette(PALETTE.tobytes())
            image.save(masks / f"{t:05d}.png")


def write_scribbles(path: Path, frame: int, *object_ids: int) -> None:
    lines: list[list[Any]] = [[] for _ in range(T)]
    for number, object_id in enumerate(object_ids):
        x = 0.2 + 0.3 * number
        lines[frame].append({"path": [[x, 0.2], [x, 0.8]], "object_id": object_id, "start_time": 0, "end_time": 1})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"sequence": path.parent.name, "scribbles": lines}))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    write_tree(root, "cat", "dog", "owl")
    write_scribbles(root / "Scribbles/dog/001.json", 1, 1, 2)
    write_scribbles(root / "Scribbles/dog/002.json", 2, 2, 1)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("dog\ncat\n")
    (root / "ImageSets/2017/train.txt").write_text("owl\n")
    return root


def read_rows(folder: Path) -> list[dict[str, str]]:
    (path,) = folder.glob("result_*.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_davis_tree_with_peoples_scribbles(tree: Path, networks: Path, tmp_path: Path) -> None:
    report = evaluate_interactively(str(tree), networks, tmp_path / "out", interactions=4, device="cpu")
    rows = read_rows(tmp_path / "out")
    columns = ["", "session_id", "sequence", "scribble_idx", "interaction", "object_id", "frame"]
    assert list(rows[0]) == [*columns, "jaccard", "contour", "j_and_f", "timing"]
    samples = {(row["sequence"], row["scribble_idx"]): None for row in rows}
    assert list(samples) == [("dog", "1"), ("dog", "2"), ("cat", "1")]  # in the order of the list
    assert len(rows) == 3 * 4 * T * 2 and [row[""] for row in rows] == [str(n) for n in range(len(rows))]
    assert {row["object_id"] for row in rows} == {"1", "2"}  # frame 0 shows no third

    # The benchmark's figures, from the rows alone.
    (scores,) = report.settings
    for n, found in enumerate(scores.j_and_f, start=1):
        own = [row for row in rows if row["interaction"] == str(n)]
        assert found == pytest.approx(np.mean([float(row["j_and_f"]) for row in own]))
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["auc"] == scores.auc and summary["curve"]["J_AND_F"][1:-1] == list(scores.j_and_f)
    assert summary["curve"]["time"][-1] == 2 * 4 * 30
    assert scores.interactions == 12 and scores.timed_out == 0 and [each.samples for each in scores.videos] == [2, 1]
    assert "first scribbles by people, from the tree, but of cat by VOSForge's robot" in report.first_input
    assert InteractiveReport.model_validate_json((tmp_path / "out/session.json").read_text()) == report

    screen = io.StringIO()
    for each in (*report.tables(), *report.notes()):
        Console(file=screen, width=200).print(each)
    assert f"AUC {100 * scores.auc:.1f}, J&F at 60 s" in screen.getvalue()
    # Until the first propagation one frame has a mask: the others score 0, or 1 where an object is hidden.
    first = [
        row for row in rows if row["interaction"] == "1" and row["scribble_idx"] == "1" and row["sequence"] == "dog"
    ]
    assert all(float(row["jaccard"]) in (0, 1) for row in first if row["frame"] != "1")


def test_shards_begin_with_the_robot(tree: Path, networks: Path, tmp_path: Path) -> None:
    import_dataset(tree, tmp_path / "data", None, None, False, 2, 1)
    rows = open_subjects(str(tmp_path / "data"), "train")
    assert [each.object_ids for each in rows][:1] == [(1, 2, 3)]
    report = evaluate_interactively(
        str(tmp_path / "data"), networks, tmp_path / "out", interactions=2, schedule="every", split="train"
    )
    (scores,) = report.settings
    assert report.schedule == "every" and report.propagated_after is None
    assert "not the benchmark's first scribbles" in report.first_input
    assert {row["object_id"] for row in read_rows(tmp_path / "out")} == {"1", "2", "3"}
    assert all(each.objects == 3 and len(each.j_and_f) == 2 for each in scores.videos)
    with pytest.raises(InputError, match="no videos in the split 'test'"):
        open_subjects(str(tmp_path / "data"), "test")


def test_the_ablation_has_four_rows_of_one_checkpoint(tree: Path, networks: Path, tmp_path: Path) -> None:
    report = evaluate_interactively(
        str(tree), networks, tmp_path, interactions=2, schedule="every", ablation=True, split="train"
    )
    assert [each.name for each in report.settings] == ["no top-k", "+ top-k", "+ fusion", "+ difference-aware fusion"]
    assert sorted(path.parent.name for path in tmp_path.glob("*/summary.json")) == [f"row-{n}" for n in (1, 2, 3, 4)]
    # 12 grid cells are fewer than top-k reads: without fusion the first two rows are one. Fusion shows in round 2.
    # (Their sums run in another order, so a pixel at the threshold may flip.)
    assert report.settings[0].j_and_f == pytest.approx(report.settings[1].j_and_f, abs=1e-3)
    first = [each.j_and_f[0] for each in report.settings]
    assert max(first) - min(first) < 1e-3
    text = io.StringIO()
    Console(file=text, width=200).print(report.tables()[-1])
    assert all(each.name in text.getvalue() for each in report.settings)


def test_clicks(tree: Path, networks: Path, tmp_path: Path) -> None:
    report = evaluate_interactively(str(tree), networks, tmp_path, kind="clicks", interactions=3, split="train")
    assert report.kind == "clicks" and report.schedule == "every" and "RITM" in report.protocol
    assert len(report.settings[0].j_and_f) == 3 and report.settings[0].without_input == 0


def test_without_time_the_last_scores_stay(tree: Path, networks: Path, tmp_path: Path) -> None:
    report = evaluate_interactively(str(tree), networks, tmp_path, interactions=2, max_seconds=1e-9, split="train")
    (scores,) = report.settings
    assert scores.timed_out == 1 and scores.interactions == 0 and scores.auc == 0
    assert scores.j_and_f == (0, 0) and scores.seconds == (None, None)
    assert report.notes() and report.tables()
    assert read_rows(tmp_path) == []


def test_objects_and_truth_of_a_tree(tree: Path) -> None:
    dog, cat = open_subjects(str(tree))
    assert (dog.video.id, cat.video.id) == ("dog", "cat") and dog.object_ids == (1, 2)
    truth = dog.truth()
    assert set(np.unique(truth[-1])) >= {3, 255}
    empty = np.zeros_like(truth)
    everywhere = np.where(truth == 3, 1, truth)
    perfect = np.where(truth == 1, 1, 0).astype(np.uint8)
    assert score_masks(truth, perfect, [1]).mean_j == 1
    assert score_masks(truth, np.where(everywhere == 1, 1, 0).astype(np.uint8), [1]).mean_j < 1  # what is no object
    assert score_masks(truth, empty, [1]).mean_j == 0
    one, two = dog.human()
    assert (one.number, one.frame, two.number, two.frame) == (1, 1, 2, 2)
    assert one.strokes is not None and set(np.unique(one.strokes)) == {-1, 1, 2}
    assert [each.video.id for each in open_subjects(str(tree), "train")] == ["owl"]


def test_lists_of_davis_2016(tmp_path: Path) -> None:
    write_tree(tmp_path, "cat", "dog")
    (tmp_path / "ImageSets/480p").mkdir(parents=True)
    lines = [f"/JPEGImages/480p/dog/{t:05d}.jpg /Annotations/480p/dog/{t:05d}.png" for t in range(T)]
    (tmp_path / "ImageSets/480p/val.txt").write_text("\n".join(lines))
    assert [each.video.id for each in open_subjects(str(tmp_path))] == ["dog"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"schedule": "never"}, "unknown schedule 'never'; known: mivos, every"),
        ({"kind": "words"}, "unknown kind 'words'; known: scribbles, clicks"),
        ({"interactions": 9}, "the schedule 'mivos' has 1..8 interactions, not 9"),
        ({"interactions": 17, "schedule": "every"}, "has 1..16 interactions, not 17"),
        ({"interactions": 0}, "not 0"),
        ({"max_seconds": 0.0}, "must be above 0"),
        ({"max_seconds": float("inf")}, "must be above 0"),
        ({"short_side": 8}, "at least 16 pixels, not 8"),
        ({"device": "warp"}, "unknown device 'warp'; known: auto, cpu, cuda"),
        ({"split": "test-dev"}, "test-dev.txt; it has train, val"),
    ],
)
def test_bad_settings(tree: Path, networks: Path, tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        evaluate_interactively(str(tree), networks, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_bad_places(tree: Path, networks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        evaluate_interactively(str(tree), tmp_path / "none", tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        evaluate_interactively(str(tmp_path / "none"), networks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_shipped_networks_are_named(
    tree: Path, networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "_FOLDER", networks)
    with pytest.raises(SystemExit) as ended:
        words = ("--interactive", "--clicks", "--interactions", "1", "--split", "train", "--out", str(tmp_path))
        main(["evaluate", "--networks", "small", str(tree), *words])
    assert not ended.value.code
    assert InteractiveReport.model_validate_json((tmp_path / "session.json").read_text()).networks == "small"


def test_bad_trees(tmp_path: Path) -> None:
    write_tree(tmp_path, "cat")
    write_scribbles(tmp_path / "Scribbles/cat/001.json", 1, 1, 3)
    with pytest.raises(InputError, match=r"001\.json marks object 3, but 'cat' has the objects 1\.\.2"):
        open_subjects(str(tmp_path))
    path = tmp_path / "Scribbles/cat/001.json"
    write_scribbles(path, 1, 1)
    both = json.loads(path.read_text())
    both["scribbles"][2] = both["scribbles"][1]
    path.write_text(json.dumps(both))
    with pytest.raises(InputError, match=r"strokes on the frames \[1, 2\]"):
        open_subjects(str(tmp_path))
    path.unlink()
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/val.txt").write_text("cow\n")
    with pytest.raises(InputError, match="lists 'cow'"):
        open_subjects(str(tmp_path))
    (tmp_path / "ImageSets/val.txt").write_text("")
    with pytest.raises(InputError, match="lists no video"):
        open_subjects(str(tmp_path))
    (tmp_path / "ImageSets/val.txt").write_text("cat\n")
    Image.fromarray(np.zeros((H, W), np.uint8)).save(tmp_path / "Annotations/480p/cat/00000.png")
    with pytest.raises(InputError, match="show no object in its first frame"):
        open_subjects(str(tmp_path))
    (tmp_path / "Annotations/480p/cat/00002.png").unlink()
    with pytest.raises(InputError, match="'cat' has no masks"):
        open_subjects(str(tmp_path))
