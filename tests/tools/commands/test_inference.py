"""The `infer` command on a folder of frames, with untrained networks: what goes in comes out in the right places."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mivos_models import S2M, Fusion, InteractiveRunner, Propagation, rasterise, save_network
from mivos_models.networks import shipped
from tests.vosforge.videos.films import flat_frames, write_film
from tools.cli import main
from tools.commands.inference import infer_video
from tools.convert.importing import import_dataset
from tools.inspect.view import open_video
from train.evaluation.interactive import Networks
from vosforge import InputError
from vosforge.videos.folders import FolderVideo

T, H, W = 4, 48, 64
DISC = (np.hypot(*np.ogrid[-5:6, -5:6]) <= 5).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("infer")
    torch.manual_seed(0)
    for kind, network in (("s2m", S2M(18, 0.125)), ("propagation", Propagation(18, 0.125)), ("fusion", Fusion(0.5))):
        save_network(network.eval(), root / "networks" / f"{kind}.pth")
    rng = np.random.default_rng(0)
    (root / "clip").mkdir()
    for t in range(T):
        cv2.imwrite(str(root / "clip" / f"{t:05d}.jpg"), rng.integers(0, 256, (H, W, 3), np.uint8))
    return root


def infer(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.cli", "infer", "clip", "out", "--networks", "networks", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def masks_in(folder: Path) -> np.ndarray:
    return np.stack([np.array(Image.open(mask)) for mask in sorted(folder.iterdir())])


def read_masks(folder: Path) -> np.ndarray:
    return masks_in(folder / "out/Annotations/clip")


def test_a_mask_is_carried_with_its_own_labels(folder: Path) -> None:
    given = np.zeros((H, W), np.uint8)
    given[4:30, 4:30], given[20:44, 36:60] = 2, 7
    Image.fromarray(given).save(folder / "given.png")
    done = infer(folder, "--mask", "given.png", "--frame", "1")
    assert done.returncode == 0, done.stderr
    masks = read_masks(folder)
    assert np.array_equal(masks[1], given)
    assert set(np.unique(masks)) <= {0, 2, 7}
    assert masks[0].any() or masks[3].any()
    assert done.stdout.strip().endswith("out/Annotations/clip")


def test_scribbles_become_masks(folder: Path) -> None:
    stroke = {"object_id": 1, "path": [[0.2, 0.2], [0.5, 0.5]], "start_time": 0, "end_time": 1}
    other = {"object_id": 2, "path": [[0.8, 0.2], [0.9, 0.8]], "start_time": 1, "end_time": 2}
    strokes = {"sequence": "clip", "scribbles": [[], [], [stroke, other], []]}
    (folder / "strokes.json").write_text(json.dumps(strokes))
    done = infer(folder, "--scribbles", "strokes.json")
    assert done.returncode == 0, done.stderr
    assert set(np.unique(read_masks(folder))) <= {0, 1, 2}


def line(object_id: object, *points: tuple[float, float]) -> dict:
    return {"path": list(points), "object_id": object_id}


def test_strokes_on_several_frames_are_all_used(folder: Path, tmp_path: Path) -> None:
    strokes = {"scribbles": [[line(0, (0.1, 0.1))], [line(3, (0.2, 0.2), (0.4, 0.4))], [], [line(9, (0.6, 0.5))]]}
    path = folder / "several.json"
    path.write_text(json.dumps(strokes), encoding="utf-8-sig")
    frames = open_video(str(folder / "clip")).frames()
    networks = Networks.load(folder / "networks")
    runner = InteractiveRunner(networks.propagation, frames, 1, s2m=networks.s2m, fusion=networks.fusion)
    for t, number in ((1, 1), (0, 0), (3, 2)):
        if number == 2:
            runner.add_object()
        drawn = rasterise(strokes, t, H, W)
        runner.interact(t, runner.scribble(t, np.where(drawn > 0, number, drawn)))
    done = infer_video(str(folder / "clip"), tmp_path, folder / "networks", scribbles=path)
    assert np.array_equal(masks_in(done.masks), np.array([0, 3, 9], np.uint8)[runner.masks])


def test_one_click_is_the_runners(folder: Path, tmp_path: Path) -> None:
    networks = Networks.load(folder / "networks")
    frames = open_video(str(folder / "clip")).frames()
    runner = InteractiveRunner(networks.propagation, frames, 1, s2m=networks.s2m, fusion=networks.fusion)
    runner.interact(2, runner.click(2, 40, 12, 1))
    done = infer_video(str(folder / "clip"), tmp_path, folder / "networks", clicks=["2,40,12"])
    assert np.array_equal(masks_in(done.masks), runner.masks)


def test_clicks_of_a_frame_are_one_interaction_and_objects_join_where_they_are_clicked(
    folder: Path, tmp_path: Path
) -> None:
    networks = Networks.load(folder / "networks")
    frames = open_video(str(folder / "clip")).frames()
    runner = InteractiveRunner(networks.propagation, frames, 1, s2m=networks.s2m, fusion=networks.fusion)
    strokes = np.full((H, W), -1)
    strokes[10, 20], strokes[30, 50] = 1, 0
    together = np.where(cv2.dilate((strokes == 1).astype(np.uint8), DISC) > 0, 1, -1)
    together[cv2.dilate((strokes == 0).astype(np.uint8), DISC) > 0] = 0
    runner.interact(1, runner.scribble(1, together))
    runner.add_object()
    runner.interact(3, runner.click(3, 8, 40, 2))
    clicks = ("3,8,40,6", "1,20,10,4", "1,50,30,0")
    done = infer_video(str(folder / "clip"), tmp_path, folder / "networks", clicks=clicks)
    assert np.array_equal(masks_in(done.masks), np.array([0, 4, 6], np.uint8)[runner.masks])


def test_the_shipped_networks_are_the_default(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(shipped, "_FOLDER", folder / "networks")
    found = []
    for name, words in (("shipped", ()), ("own", ("--networks", "networks"))):
        with pytest.raises(SystemExit) as ended:
            main(["infer", "clip", str(tmp_path / name), "--click", "0,9,9", *words])
        assert not ended.value.code
        found.append(masks_in(tmp_path / name / "Annotations/clip"))
    assert np.array_equal(*found)
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path / "nowhere")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["infer", "clip", str(tmp_path / "missing"), "--click", "0,9,9"])
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "the shipped networks are missing here" in line
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([[line(1, (20, 45), (30, 50))]], "x = 20 on frame 0: DAVIS scribbles are in 0..1, divide by width and height"),
        ([[], [line(1, (0.5, -0.1))]], "y = -0.1 on frame 1"),
        ([[line(1, (0.5, float("nan")))]], "x and y in 0..1"),
        ([[line(-1, (0.5, 0.5))]], "object_id = -1 on frame 0"),
        ([[line(1.5, (0.5, 0.5))]], "object_id = 1.5 on frame 0"),
        ([[line(255, (0.5, 0.5))]], "has object 255 on frame 0"),
        ([[line(0, (0.5, 0.5))]], "marks only background"),
        ([[line(1, (0.5, 0.5))], [], [], [], [line(1, (0.5, 0.5))]], "strokes on frame 4, the video only"),
        ([[], []], "holds no DAVIS scribbles"),
    ],
)
def test_wrong_scribbles_are_refused_with_what_was_found(
    folder: Path, tmp_path: Path, frames: list, reason: str
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({"scribbles": frames}))
    with pytest.raises(InputError, match=re.escape(reason)):
        infer_video(str(folder / "clip"), tmp_path / "out", folder / "networks", scribbles=path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "give --mask, --scribbles or --click"),
        (("--mask", "given.png", "--scribbles", "strokes.json"), "give only one of --mask, --scribbles and --click"),
        (("--mask", "clip/00000.jpg"), "is a JPEG file, which cannot hold labels"),
        (("--mask", "nowhere.png"), "cannot read the mask nowhere.png"),
        (("--scribbles", "clip/00000.jpg"), "cannot read the scribbles clip/00000.jpg"),
    ],
)
def test_bad_input_is_told_in_a_sentence_and_writes_nothing(folder: Path, words: tuple[str, ...], reason: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = infer(folder, *words)
    assert done.returncode == 2
    assert reason in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_masks_are_named_like_the_frames(folder: Path) -> None:
    rng = np.random.default_rng(1)
    (folder / "sparse").mkdir()
    for number in (10, 15):
        cv2.imwrite(str(folder / "sparse" / f"{number:05d}.jpg"), rng.integers(0, 256, (H, W, 3), np.uint8))
    Image.fromarray(np.pad(np.ones((20, 20), np.uint8), ((0, H - 20), (0, W - 20)))).save(folder / "sparse.png")
    words = ("infer", "sparse", "out", "--networks", "networks", "--mask", "sparse.png")
    subprocess.run([sys.executable, "-m", "tools.cli", *words], cwd=folder, timeout=300, check=True)
    written = sorted(path.name for path in (folder / "out/Annotations/sparse").iterdir())
    assert written == ["00010.png", "00015.png"]


def test_an_imported_videos_masks_keep_its_frames_names(folder: Path, tmp_path: Path) -> None:
    for kind, suffix in (("frames", "jpg"), ("masks", "png")):
        (tmp_path / kind).mkdir()
        for number in (8, 10):
            Image.new("L", (W, H), 1).save(tmp_path / kind / f"shot{number}.{suffix}")
    import_dataset(tmp_path / "frames", tmp_path / "data", masks=tmp_path / "masks", workers=1)
    given = tmp_path / "masks" / "shot8.png"
    done = infer_video(str(tmp_path / "data"), tmp_path / "out", folder / "networks", mask=given)
    assert sorted(path.name for path in done.masks.iterdir()) == ["shot10.png", "shot8.png"]


@pytest.mark.parametrize(("values", "objects"), [((0, 255), (1,)), ((0, 38, 113), (38, 113))])
def test_a_film_is_segmented_from_any_mask(
    folder: Path, values: tuple[int, ...], objects: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(FolderVideo, "frames")  # a long film fits in memory only frame by frame
    film = write_film(folder / "film.mp4", flat_frames(3, H, W))
    given = np.repeat(np.array(values, np.uint8), -(-W // len(values)))[None, :W].repeat(H, axis=0)
    Image.fromarray(given).save(folder / "first.png")
    done = infer_video(str(film), folder / "out", folder / "networks", mask=folder / "first.png")
    assert sorted(path.name for path in done.masks.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    with Image.open(done.masks / "00000.png") as image:
        assert set(np.unique(np.asarray(image))) == {0, *objects}
