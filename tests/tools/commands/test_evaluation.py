"""`vosforge evaluate` on small trees: what is read, written and refused."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mivos_models import Propagation, save_network
from mivos_models.networks import shipped
from tools.commands.evaluation import evaluate_results
from tools.commands.segmenting import segment_set
from tools.commands.timing import Timing, write_timing
from tools.convert.importing import import_dataset
from tools.convert.writing import palette_png
from vosforge import InputError

T, H, W = 6, 48, 64


def masks_of(seed: int, moved: int = 0) -> np.ndarray:
    masks = np.zeros((T, H, W), np.uint8)
    for t in range(T):
        masks[t, 4 + seed : 20 + seed, 5 + t + moved : 25 + t + moved] = 1
        masks[t, 26:40, 40 - t - moved : 54 - t - moved] = 2
    return masks


def write_masks(folder: Path, masks: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for t, mask in enumerate(masks):
        (folder / f"{t:05d}.png").write_bytes(palette_png(mask))


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """A DAVIS tree of three videos, two of them in val."""
    root, rng = tmp_path / "DAVIS", np.random.default_rng(0)
    for seed, name in enumerate(("bear", "camel", "zebra")):
        write_masks(root / "Annotations/480p" / name, masks_of(seed))
        (root / "JPEGImages/480p" / name).mkdir(parents=True)
        for t in range(T):
            frame = Image.fromarray(rng.integers(0, 256, (H, W, 3), np.uint8))
            frame.save(root / "JPEGImages/480p" / name / f"{t:05d}.jpg")
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("bear\ncamel\n")
    return root


def write_results(root: Path, moved: int = 2, videos: tuple[str, ...] = ("bear", "camel")) -> Path:
    for seed, name in enumerate(videos):
        write_masks(root / name, masks_of(seed, moved))
    return root


def test_results_are_scored_and_written(davis: Path, tmp_path: Path) -> None:
    results = write_results(tmp_path / "res")
    [found] = evaluate_results([results], davis, tmp_path / "out", split="val")
    assert found.overall.objects == 4
    assert 0.7 < found.overall.j < 0.9
    kept = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert kept["overall"]["jf"] == found.overall.jf
    assert kept["convention"].startswith("davis2017-evaluation")
    [header, row] = csv.reader((tmp_path / "out/global_results-val.csv").open())
    assert header == ["J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay"]
    assert float(row[1]) == pytest.approx(found.overall.j, abs=5e-4)
    rows = list(csv.reader((tmp_path / "out/per-sequence_results-val.csv").open()))
    assert [row[0] for row in rows[1:]] == ["bear_1", "bear_2", "camel_1", "camel_2"]
    page = (tmp_path / "out/evaluation.html").read_text()
    assert page.count('src="data:image/jpeg') == 2
    assert "frame 0000" in page


def test_every_place_of_masks_is_found(davis: Path, tmp_path: Path) -> None:
    expected = None
    for layout in ("res", "res2/Annotations", "res3/Annotations/480p", "res4/480p"):
        write_results(tmp_path / layout)
        [found] = evaluate_results([tmp_path / layout.split("/")[0]], davis, tmp_path / "out", split="val")
        expected = expected or found.overall
        assert found.overall == expected
    (tmp_path / "bare").mkdir()
    for name in ("bear", "camel"):  # the ground truth's masks alone, without frames or lists
        (davis / "Annotations/480p" / name).rename(tmp_path / "bare" / name)
    [found] = evaluate_results([tmp_path / "res"], tmp_path / "bare", tmp_path / "out")
    assert found.overall == expected


def test_a_data_set_of_shards_is_ground_truth(davis: Path, tmp_path: Path) -> None:
    import_dataset(davis, tmp_path / "data", workers=1)
    write_results(tmp_path / "res", videos=("bear", "camel", "zebra"))
    [of_tree] = evaluate_results([tmp_path / "res"], davis, tmp_path / "out")
    [of_shards] = evaluate_results([tmp_path / "res"], tmp_path / "data", tmp_path / "out")
    assert of_shards.overall == of_tree.overall


def test_several_results_are_compared_with_their_speed(davis: Path, tmp_path: Path) -> None:
    folders = [write_results(tmp_path / "good", 1), write_results(tmp_path / "bad", 6)]
    for folder, seconds in zip(folders, (2.0, 0.5), strict=True):
        timing = Timing().with_video("bear", T, seconds).with_video("camel", T, seconds)
        write_timing(folder, timing)
    good, bad = evaluate_results(folders, davis, tmp_path / "out", split="val")
    assert good.overall.jf > bad.overall.jf
    assert (good.frames_per_second, bad.frames_per_second) == (3.0, 12.0)
    page = (tmp_path / "out/evaluation.html").read_text()
    assert "<svg" in page
    assert (tmp_path / "out/good/evaluation.json").exists()


def test_networks_segment_the_ground_truth_and_resume(
    davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    save_network(Propagation(18, 0.125).eval(), tmp_path / "networks/propagation.pth")
    masks = segment_set(davis, tmp_path / "networks", tmp_path / "out", "davis17", "val", None, "cpu")
    first = np.array(Image.open(masks / "bear/00000.png"))
    assert np.array_equal(first, masks_of(0)[0])
    before = (masks / "bear/00003.png").stat().st_mtime_ns
    segment_set(davis, tmp_path / "networks", tmp_path / "out", "davis17", "val", None, "cpu")
    assert (masks / "bear/00003.png").stat().st_mtime_ns == before
    [found] = evaluate_results([masks], davis, tmp_path / "out", split="val")
    assert found.frames_per_second is not None
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path / "networks")
    for kind in ("s2m", "fusion"):
        (tmp_path / "networks" / f"{kind}.pth").touch()
    segment_set(davis, None, tmp_path / "out", "davis17", "val", None, "cpu")
    assert (masks / "bear/00003.png").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="other networks or settings"):
        segment_set(davis, tmp_path / "networks", tmp_path / "out", "davis17", "val", 32, "cpu")
    with pytest.raises(InputError, match="other networks or settings"):
        segment_set(davis, tmp_path / "networks", tmp_path / "out", "davis17", "val", None, "cpu", adapt=True)
    adapted = segment_set(davis, tmp_path / "networks", tmp_path / "adapted", "davis17", "val", None, "cpu", adapt=True)
    names = [path.relative_to(masks) for path in masks.glob("*/*.png")]
    assert any((masks / name).read_bytes() != (adapted / name).read_bytes() for name in names)


def test_objects_that_enter_late_are_given_where_they_enter(davis: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_network(Propagation(18, 0.125).eval(), tmp_path / "networks/propagation.pth")
    late = masks_of(0)
    late[:3][late[:3] == 2] = 0
    for t, mask in enumerate(late):
        (davis / f"Annotations/480p/bear/{t:05d}.png").write_bytes(palette_png(mask))
    masks = segment_set(davis, tmp_path / "networks", tmp_path / "out", "youtube-vos", None, None, "cpu")
    found = np.array(Image.open(masks / "bear/00003.png"))
    assert np.array_equal(found == 2, late[3] == 2)
    assert 2 not in np.array(Image.open(masks / "bear/00002.png"))


def youtube(root: Path, every: int = 2) -> Path:
    """A tree of YouTube-VOS: masks of every second frame, categories, a training split."""
    for split, name, category in (("train", "old", "dog"), ("valid", "new", "cat")):
        write_masks(root / split / "Annotations" / name, masks_of(0))
        (root / split / "JPEGImages" / name).mkdir(parents=True)
        for t in range(T):
            Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(root / split / f"JPEGImages/{name}/{t:05d}.jpg")
            if t % every:
                (root / split / f"Annotations/{name}/{t:05d}.png").unlink()
        objects = {"1": {"category": "dog", "frames": ["00000"]}, "2": {"category": category, "frames": ["00000"]}}
        (root / split / "meta.json").write_text(json.dumps({"videos": {name: {"objects": objects}}}))
    return root


def test_youtube_vos_has_frames_between_masks_and_seen_categories(tmp_path: Path) -> None:
    root = youtube(tmp_path / "YouTube")
    write_masks(tmp_path / "res/new", masks_of(0, 2))
    [found] = evaluate_results([tmp_path / "res"], root / "valid", tmp_path / "out", "youtube-vos")
    groups = found.groups["categories in training"]
    assert groups["seen"].objects == groups["unseen"].objects == 1
    assert found.overall.j == pytest.approx((groups["seen"].j + groups["unseen"].j) / 2)
    for t in (2, 4):
        (root / f"valid/Annotations/new/{t:05d}.png").unlink()
    with pytest.raises(InputError, match="masks of every frame"):
        evaluate_results([tmp_path / "res"], root / "valid", tmp_path / "out", "youtube-vos")


def damaged(results: Path, kind: str) -> None:
    mask = np.array(Image.open(results / "bear/00002.png"))
    match kind:
        case "size":
            (results / "bear/00002.png").write_bytes(palette_png(mask[:40]))
        case "missing frame":
            (results / "bear/00002.png").unlink()
        case "surplus frame":
            (results / "bear/00017.png").write_bytes(palette_png(mask))
        case "missing video":
            (results / "bear").rename(results.parent / "elsewhere")
        case "surplus video":
            write_masks(results / "unicorn", masks_of(0))
        case "other names":
            for t in range(T):
                (results / f"bear/{t:05d}.png").rename(results / f"bear/frame-{chr(97 + t)}.png")
        case "soft":
            soft = Image.fromarray((mask > 0).astype(np.uint8) * 255).resize((W * 4, H * 4), Image.Resampling.BILINEAR)
            soft.resize((W, H), Image.Resampling.BICUBIC).save(results / "bear/00002.png")
        case "colours":
            for t in range(T):
                ink = np.array([[0, 0, 0], [10, 20, 30], [200, 30, 99]], np.uint8)
                labels = np.array(Image.open(results / f"bear/{t:05d}.png"))
                Image.fromarray(ink[labels]).save(results / f"bear/{t:05d}.png")
        case "mixed" | "one colour":
            for t in (2,) if kind == "mixed" else range(T):
                labels = np.array(Image.open(results / f"bear/{t:05d}.png"))
                Image.fromarray((labels == 2)[..., None] * np.array([0, 255, 0], np.uint8)).save(
                    results / f"bear/{t:05d}.png"
                )
        case "black and white":
            for t in range(T):
                labels = np.array(Image.open(results / f"bear/{t:05d}.png"))
                Image.fromarray((labels == 2).astype(np.uint8) * 255).save(results / f"bear/{t:05d}.png")
        case "jpeg":
            for path in sorted(results.rglob("*.png")):
                Image.open(path).convert("L").save(path.with_suffix(".jpg"))
                path.unlink()
        case "rubbish":
            (results / "bear/00002.png").write_bytes(b"rubbish")
        case "object":
            (results / "bear/00002.png").write_bytes(palette_png(np.where(mask == 2, 7, mask).astype(np.uint8)))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("size", "00002.png is 64x40, its frame 64x48"),
        ("missing frame", r"1 frame \(00002\).*--allow-missing"),
        ("surplus frame", r"1 frame \(00017\)"),
        ("missing video", r"1 video \(bear\).*--allow-missing"),
        ("surplus video", r"1 video \(unicorn\)"),
        ("other names", "is named like a frame"),
        ("soft", "soft edges"),
        ("colours", "do not say which object"),
        ("rubbish", "damaged"),
        ("object", "object 7"),
        ("mixed", "some masks hold labels, others colours"),
        ("one colour", r"do not say which object .* \(1 object \(1 = #00ff00\)\)"),
        ("black and white", "do not say which object"),
        ("jpeg", "cannot hold labels"),
    ],
)
def test_results_that_do_not_fit_are_refused_in_one_sentence(davis, tmp_path, kind, says):
    damaged(write_results(tmp_path / "res"), kind)
    with pytest.raises(InputError, match=says) as caught:
        evaluate_results([tmp_path / "res"], davis, tmp_path / "out", split="val")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_scored_as_empty_when_allowed(davis: Path, tmp_path: Path, capsys) -> None:
    results = write_results(tmp_path / "res", moved=0)
    (results / "bear/00002.png").unlink()
    [found] = evaluate_results([results], davis, tmp_path / "out", split="val", allow_missing=True)
    by_object = {(score.video, score.object): score.j for video in found.videos for score in video.objects}
    assert by_object["bear", 1] == by_object["bear", 2] == 0.75
    assert (found.missing_frames, found.missing_videos) == (1, 0)
    (results / "bear").rename(tmp_path / "elsewhere")
    [found] = evaluate_results([results], davis, tmp_path / "out", split="val", allow_missing=True)
    assert (found.missing_frames, found.missing_videos) == (T - 2, 1)
    assert "4 frames without a mask (1 whole videos)" in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_the_command_prints_the_table_and_the_page(davis: Path, tmp_path: Path) -> None:
    write_results(tmp_path / "res")
    command = [sys.executable, "-m", "tools.cli", "evaluate", "res", "DAVIS", "--split", "val", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("out/evaluation.html")
    assert "davis17" in done.stdout
    done = subprocess.run(
        [*command, "--protocol", "davis18"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("vosforge: unknown protocol 'davis18'; known: davis17")


def test_black_and_white_results_are_the_only_object(davis: Path, tmp_path: Path) -> None:
    for name in ("bear", "camel"):
        for path in sorted((davis / "Annotations/480p" / name).glob("*.png")):
            path.write_bytes(palette_png((np.array(Image.open(path)) == 1).astype(np.uint8)))
    for seed, name in enumerate(("bear", "camel")):
        (tmp_path / "res" / name).mkdir(parents=True)
        for t, mask in enumerate(masks_of(seed)):
            Image.fromarray((mask == 1).astype(np.uint8) * 255).save(tmp_path / "res" / name / f"{t}.png")
    [found] = evaluate_results([tmp_path / "res"], davis, tmp_path / "out", split="val")
    assert (found.overall.objects, found.overall.jf) == (2, 1.0)


def test_earlier_files_do_not_stand_beside_later_ones(davis: Path, tmp_path: Path) -> None:
    results, out = write_results(tmp_path / "res"), tmp_path / "out"
    out.mkdir()
    (out / "results.csv").write_text("not ours")
    evaluate_results([results], davis, out, split="val")
    assert (out / "results.csv").read_text() == "not ours"
    evaluate_results([results], davis, out, "vos-benchmark", split="val")
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.html", "evaluation.json", "results.csv"]


def test_frames_between_annotated_ones_and_links_are_no_surplus(davis: Path, tmp_path: Path) -> None:
    results = write_results(tmp_path / "all")
    for name in ("bear", "camel"):
        for t in (1, 3, 5):
            (davis / f"Annotations/480p/{name}/{t:05d}.png").unlink()
            (davis / f"JPEGImages/480p/{name}/{t:05d}.jpg").unlink()
    (tmp_path / "res").mkdir()
    (tmp_path / "res/480p").symlink_to(results)
    [found] = evaluate_results([tmp_path / "res"], davis, tmp_path / "out", split="val")
    assert {score.frames for video in found.videos for score in video.objects} == {1}


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"bear\xff\n", "not a text in UTF-8"), (b"\xef\xbb\xbfbear\n", None), (b"\n", "lists no video")],
)
def test_lists_of_videos_are_text(davis: Path, tmp_path: Path, content: bytes, says: str | None) -> None:
    (davis / "ImageSets/2017/val.txt").write_bytes(content)
    results = write_results(tmp_path / "res", videos=("bear",))
    if says is None:
        evaluate_results([results], davis, tmp_path / "out", split="val")
        return
    with pytest.raises(InputError, match=says):
        evaluate_results([results], davis, tmp_path / "out", split="val")


def test_foreign_metadata_beside_a_tree_changes_nothing(davis: Path, tmp_path: Path) -> None:
    results = write_results(tmp_path / "res")
    [before] = evaluate_results([results], davis, tmp_path / "out", "mose2", split="val")
    objects = {"bear": {"objects": {"5": {"category": "dog", "frames": ["00000"]}}}}
    (davis.parent / "meta.json").write_text(json.dumps({"videos": objects}))  # of the folder above: another set's
    (davis / "meta.json").write_text('{"name": "my project"}')
    [found] = evaluate_results([results], davis, tmp_path / "out", "mose2", split="val")
    assert found.overall == before.overall
    (davis / "meta.json").write_text(json.dumps({"videos": {"bear": {"objects": {"1": {"frames": 7}}}}}))
    with pytest.raises(InputError, match="lists no frames for object 1 of bear"):
        evaluate_results([results], davis, tmp_path / "out", split="val")
