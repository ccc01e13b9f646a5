"""Sources of training data: what they hold, how they are mixed, what they say when they cannot be used."""

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from train.data import remote_trees, trees
from train.data.augment import Augmentation, Geometry
from train.data.clips import ClipDataset
from train.data.sources import Mix, OpenSource, Source, as_mix, open_sources, spacing
from train.data.trees import StillVideo, find_stills, find_videos
from train.propagation import train_propagation
from train.s2m import FrameDataset
from train.settings import PropagationSettings, S2MSettings
from vosforge import InputError
from vosforge.videos import VideoRecord, build_manifest, pack_shard, stage_video
from vosforge.videos.codec import encode
from vosforge.videos.palette import PALETTE
from vosforge.videos.video import MemoryVideo

SETTINGS = PropagationSettings(
    iterations=40, batch=3, augmentation=Augmentation(geometry=Geometry(crop=64, area=(0.3, 1), rotation=9))
)


def equal(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def save_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask, "P")
    image.putpalette(PALETTE.ravel().tolist())
    image.save(path)


def write_tree(frames: Path, masks: Path, videos: dict[str, MemoryVideo], every: int = 1) -> None:
    for name, video in videos.items():
        (frames / name).mkdir(parents=True)
        for t in range(video.num_frames):
            Image.fromarray(video.frame(t)).save(frames / name / f"{t:05d}.jpg", quality=95)
            if t % every == 0:
                save_mask(masks / name / f"{t:05d}.png", video.mask(t))


@pytest.fixture(scope="module")
def blobs(make_video: Any) -> dict[str, MemoryVideo]:
    return {f"v{seed}": make_video(seed, num_frames=16, height=48, width=64) for seed in range(3)}


@pytest.fixture(scope="module")
def root(blobs: dict[str, MemoryVideo], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small data set of every kind."""
    root: Path = tmp_path_factory.mktemp("sources")
    write_tree(root / "davis/JPEGImages/480p", root / "davis/Annotations/480p", blobs)
    (root / "davis/ImageSets/2017").mkdir(parents=True)
    (root / "davis/ImageSets/2017/train.txt").write_text("v0\nv2\n")
    write_tree(root / "youtube/train/JPEGImages", root / "youtube/train/Annotations", blobs, every=5)
    (root / "youtube/train/meta.json").write_text(json.dumps({"videos": {}}))
    write_tree(root / "BL30K/JPEGImages", root / "BL30K/Annotations", blobs)
    write_tree(root / "plain/frames", root / "plain/masks", blobs)
    staged = []
    for number, (name, video) in enumerate(blobs.items()):
        staged.append(root / "shards" / "staging" / f"{number}.h5")
        frames = tuple(encode(frame, "png", 0) for frame in video.frames())
        split = "val" if name == "v1" else "train"
        record = VideoRecord(name, split, frames, "png", video.masks(), ("thing",) * max(video.object_ids), 9.0)
        stage_video(staged[-1], record)
    pack_shard(root / "shards" / "shards", 0, staged, {})
    build_manifest(root / "shards")
    for number, video in enumerate(blobs.values()):
        image, mask = Image.fromarray(video.frame(number)), (video.mask(number) > 0).astype(np.uint8) * 255
        for folder in ("stills/DUTS-TR-Image", "stills/DUTS-TR-Mask", "stills/fss/dog"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        image.save(root / f"stills/DUTS-TR-Image/{number}.jpg")
        Image.fromarray(mask).resize((32, 24)).resize((64, 48)).save(root / f"stills/DUTS-TR-Mask/{number}.png")
        image.save(root / f"stills/fss/dog/{number}.jpg")
        Image.fromarray(mask).convert("RGB").save(root / f"stills/fss/dog/{number}.png")
    return root


@pytest.mark.parametrize(
    ("name", "ids", "frames"),
    [
        ("shards", {"v0", "v2"}, 16),
        ("davis", {"v0", "v2"}, 16),
        ("youtube", {"v0", "v1", "v2"}, 4),
        ("BL30K", {"v0", "v1", "v2"}, 16),
        ("plain", {"v0", "v1", "v2"}, 16),
        ("stills", {f"{folder}/{n}" for folder in ("DUTS-TR-Image", "fss/dog") for n in range(3)}, 1),
    ],
)
def test_every_kind_is_recognised(root: Path, blobs: Any, name: str, ids: set[str], frames: int) -> None:
    mix = open_sources([Source(place=str(root / name))], min_frames=3)
    assert {video.id for video in mix} == ids and len(mix) == len(ids)
    assert {video.num_frames for video in mix} == {frames}
    assert mix.sources[0].stills == (name == "stills")
    data = ClipDataset(pickle.loads(pickle.dumps(mix)), SETTINGS)
    clip = data[0]
    assert clip.frames.shape == (3, 3, 64, 64) and clip.labels[0].any()
    assert torch.equal(data[7].labels, ClipDataset(mix, SETTINGS)[7].labels)


def test_clips_of_a_sparse_tree_are_annotated_frames(root: Path, blobs: Any) -> None:
    (source,) = open_sources([Source(place=str(root / "youtube"))], 3).sources
    video = source.videos[0]
    assert spacing(video) == 5 and spacing(blobs["v0"]) == 1
    for t in range(4):
        assert np.array_equal(video.mask(t), blobs["v0"].mask(5 * t))
        assert np.abs(video.frame(t).astype(int) - blobs["v0"].frame(5 * t)).mean() < 12
    assert video.object_ids == tuple(sorted({int(i) for t in range(4) for i in np.unique(video.mask(t)) if i}))


def test_a_list_chooses_videos(root: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("v2\nother\n")
    chosen = open_sources([Source(place=str(root / "BL30K"), listed=tmp_path / "list.txt")], 3)
    assert [video.id for video in chosen] == ["v2"]
    (tmp_path / "list.txt").write_text("other\n")
    with pytest.raises(InputError, match="none of the videos in the list"):
        open_sources([Source(place=str(root / "BL30K"), listed=tmp_path / "list.txt")], 3)


def test_only_folders_are_listed_when_a_tree_is_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = trees.FolderVideo
    trees.open_annotated.cache_clear()
    monkeypatch.setattr(trees, "FolderVideo", lambda *args: opened.append(args[2]) or real(*args))
    mix = open_sources([Source(place=str(root / "BL30K"))], 3)
    assert len(mix) == 3 and opened == ["v0"]


def mixed(sizes: list[int], shares: list[float]) -> Mix:
    def named(name: str) -> MemoryVideo:
        return MemoryVideo(name, np.zeros((1, 1, 1, 3), np.uint8), None)

    return Mix(
        [
            OpenSource([named(f"{number}-{i}") for i in range(size)], share)
            for number, (size, share) in enumerate(zip(sizes, shares, strict=True))
        ]
    )


def test_sources_get_their_shares_and_no_video_repeats_early() -> None:
    mix = mixed([7, 30, 4], [0.7, 0.3, 0.0])
    drawn = [mix.choose(5, index)[1].id for index in range(3000)]
    assert Counter(name[0] for name in drawn) == {"0": 2100, "1": 900}
    for number, size in (("0", 7), ("1", 30)):
        own = [name for name in drawn if name[0] == number]
        whole = len(own) // size * size
        assert all(len(set(own[start : start + size])) == size for start in range(0, whole, size))
    assert drawn[1000:1010] == [mix.choose(5, index)[1].id for index in range(1000, 1010)]
    assert drawn != [mix.choose(6, index)[1].id for index in range(3000)]
    assert len({tuple(name[0] for name in drawn[start : start + 20]) for start in (0, 1000, 2000)}) == 3


def test_one_source_is_drawn_as_a_data_set_alone(blobs: Any) -> None:
    alone = ClipDataset(list(blobs.values()), SETTINGS)
    mix = ClipDataset(Mix([OpenSource(list(blobs.values()))]), SETTINGS)
    both = ClipDataset(Mix([OpenSource(list(blobs.values())), OpenSource([], share=0.0)]), SETTINGS)
    assert all(equal(alone[index], mix[index]) and equal(alone[index], both[index]) for index in range(8))


def test_weights_count_videos_and_shares_count_samples(root: Path) -> None:
    davis, bl30k = str(root / "davis"), str(root / "BL30K")
    shares = [one.share for one in open_sources([Source(place=davis, weight=5), Source(place=bl30k)], 3).sources]
    assert shares == pytest.approx([10 / 13, 3 / 13])
    three = [Source(place=davis, share=0.5), Source(place=bl30k), Source(place=str(root / "plain"))]
    assert [one.share for one in open_sources(three, 3).sources] == pytest.approx([0.5, 0.25, 0.25])
    with pytest.raises(InputError, match=r"add up to 1\.2"):
        open_sources([Source(place=davis, share=0.6), Source(place=bl30k, share=0.6)], 3)
    with pytest.raises(InputError, match="no source to train on has a weight"):
        open_sources([Source(place=davis, weight=0, cutouts=True)], 3)


def test_cutouts_come_from_their_sources(root: Path) -> None:
    sources = [Source(place=str(root / "stills")), Source(place=str(root / "shards"), weight=0, cutouts=True)]
    mix = open_sources(sources, 3)
    rng = np.random.default_rng(0)
    assert {mix.draw_for_cutout(rng).id for _ in range(20)} == {"v0", "v2"}
    assert {mix.choose(0, index)[0] for index in range(20)} == {mix.sources[0]}


def test_stills_of_shards(root: Path) -> None:
    mix = open_sources([Source(place=str(root / "shards"), stills=True)], 8)
    clip = ClipDataset(mix, SETTINGS)[0]
    assert mix.sources[0].stills and clip.labels[0].any()


def test_spawned_workers_draw_the_same_from_a_mix(root: Path) -> None:
    sources = [Source(place=str(root / name)) for name in ("shards", "youtube", "stills")]
    data = ClipDataset(open_sources(sources, 3), SETTINGS)
    alone = next(iter(DataLoader(data, 6)))
    assert equal(alone, next(iter(DataLoader(data, 6, num_workers=1, multiprocessing_context="spawn"))))


def test_networks_train_on_a_mix(root: Path, tmp_path: Path) -> None:
    mix = open_sources([Source(place=str(root / name)) for name in ("davis", "stills")], 3)
    tiny = SETTINGS.model_copy(update={"iterations": 2, "batch": 2, "depth": 18, "width": 0.125, "workers": 0})
    path = train_propagation(mix, tiny.model_copy(update={"keep_in_memory": True}), tmp_path / "memory")
    again = train_propagation(mix, tiny, tmp_path)
    states = [torch.load(one, weights_only=True) for one in (path, again)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    frames = FrameDataset(mix, S2MSettings(augmentation=SETTINGS.augmentation))
    assert frames[0].inputs.shape == (6, 64, 64)


def test_masks_of_stills(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg")

    def read(values: Any, mode: str = "L") -> list[int]:
        image = Image.fromarray(np.array(values, np.uint8).reshape(4, 6), mode)
        image.save(tmp_path / "a.png")
        return np.unique(StillVideo(tmp_path / "a.jpg", tmp_path / "a.png", "a").mask(0)).tolist()

    soft = [0] * 12 + [40, 100, 130, 180, 200, 255, 255, 255, 255, 255, 255, 255]
    assert read(soft) == [0, 1] and read(soft[:12] + [255] * 12) == [0, 1]
    assert read([0] * 12 + [1] * 6 + [2] * 6) == [0, 1, 2] and read([0] * 12 + [1] * 6 + [255] * 6) == [0, 1]
    save_mask(tmp_path / "a.png", np.array([0] * 12 + [1] * 6 + [200] * 6, np.uint8).reshape(4, 6))
    assert np.unique(StillVideo(tmp_path / "a.jpg", tmp_path / "a.png", "a").mask(0)).tolist() == [0, 1, 200]
    Image.new("L", (5, 4), 255).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is 5x4, its image 6x4"):
        StillVideo(tmp_path / "a.jpg", tmp_path / "a.png", "a").mask(0)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="damaged or not an image"):
        StillVideo(tmp_path / "a.jpg", tmp_path / "a.png", "a").mask(0)


def test_pairs_of_stills(tmp_path: Path) -> None:
    for name in ("images/1.jpg", "ground_truth_mask/1.png", "b/x.jpg", "b/x.png", "b/alone.jpg", "._x.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    found = find_stills(tmp_path)
    assert found is not None and found.pairs == (("b/x.jpg", "b/x.png"), ("images/1.jpg", "ground_truth_mask/1.png"))
    assert find_videos(tmp_path) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ((), "holds neither shards nor videos nor images with masks"),
        (("images/1.jpg", "masks/1.png"), "may be one video or stills: add kind=videos or kind=stills"),
        (("JPEGImages/a/0.jpg", "Annotations/a/0.png"), "none of its 1 videos has masks with an object in at least 3"),
        (("JPEGImages/a/0.jpg",), "holds neither shards nor videos nor images with masks"),
        (("frames/a/0.jpg",), "none of its 0 videos has masks"),
    ],
)
def test_sources_that_cannot_be_used_are_named(tmp_path: Path, make: tuple[str, ...], message: str) -> None:
    for name in make:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "white").save(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        open_sources([Source(place=str(tmp_path))], 3)
    assert str(tmp_path) in str(caught.value)


def test_missing_and_unreadable_sources_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        open_sources([Source(place=str(tmp_path / "absent"))])
    with pytest.raises(InputError, match="no videos in its split 'test'"):
        open_sources([Source(place=str(root / "shards"), split="test")])
    with pytest.raises(InputError, match="at least 99 frame"):
        open_sources([Source(place=str(root / "shards"))], 99)


def test_sources_are_read_from_texts() -> None:
    assert Source.parse("runs/data") == Source(place="runs/data")
    parsed = Source.parse("s3://b/renders,share=0.2,stills=true,cutouts=true,split=val")
    assert parsed == Source(place="s3://b/renders", share=0.2, stills=True, cutouts=True, split="val")
    with pytest.raises(InputError, match="unknown key 'wieght'; did you mean 'weight'"):
        Source.parse("davis,wieght=5")
    with pytest.raises(InputError, match="'weight' cannot be"):
        Source.parse("davis,weight=much")


def test_lists_of_videos_are_mixes_of_one(blobs: Any) -> None:
    mix = as_mix(list(blobs.values()), 3)
    assert as_mix(mix, 3) is mix and mix[0] is blobs["v0"] and mix[-1] is blobs["v2"] and len(mix[:2]) == 2
    with pytest.raises(IndexError):
        mix[3]


def test_trees_by_url(root: Path, bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = fsspec.url_to_fs(bucket)
    for name in ("davis/JPEGImages", "davis/Annotations", "youtube/train"):
        for file in (root / name).rglob("*.*"):
            if "v1" not in file.parts:
                store.put_file(str(file), f"{path}/{file.relative_to(root)}")
    for name in ("davis", "youtube"):
        trees.open_annotated.cache_clear()
        here = [one for one in open_sources([Source(place=str(root / name))], 3) if one.id != "v1"]
        there = ClipDataset(open_sources([Source(place=f"{bucket}/{name}")], 3), SETTINGS)
        assert [video.id for video in there.videos] == ["v0", "v2"]
        assert equal(there[1], ClipDataset(here, SETTINGS)[1])
    copies = cache.parent / "trees"
    assert len(list(copies.glob("*/bytes"))) == 4
    monkeypatch.setenv("VOSFORGE_REMOTE_GB", "0")
    monkeypatch.setattr(remote_trees, "IN_USE_SECONDS", 0.0)
    remote_trees._make_room(copies)
    assert not list(copies.iterdir())
    monkeypatch.delenv("VOSFORGE_REMOTE_GB")
    assert equal(there[1], ClipDataset(here, SETTINGS)[1])
    with pytest.raises(InputError, match="absent has no manifest"):
        open_sources([Source(place=f"{bucket}/absent")], 3)


def test_a_digest_tells_mixes_apart(root: Path) -> None:
    def digest(*texts: str) -> str:
        return open_sources([Source.parse(f"{root}/{text}") for text in texts], 3).digest()

    assert digest("davis", "stills") == digest("davis", "stills")
    different = {
        digest(*texts)
        for texts in [("davis",), ("BL30K",), ("shards",), ("shards,split=val",), ("davis,weight=5", "BL30K")]
    }
    assert len(different | {digest("davis", "BL30K"), digest("shards,stills=true"), digest("stills")}) == 8
