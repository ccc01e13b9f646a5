import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from mivos_models import STCN, affinity, load_network, normalise
from train.data.augment import Augmentation, Geometry
from train.data.clips import ClipDataset
from train.data.scribbles import ScribbleSettings
from train.evaluation.interactive import Networks, evaluate_interactive
from train.evaluation.metrics import score_masks
from train.fusion import train_fusion
from train.losses import Bootstrap, cell_shares, matching_loss, one_hot
from train.propagation import propagation_loss, train_propagation
from train.s2m import train_s2m
from train.settings import ClipStage, FusionSettings, PropagationSettings, S2MSettings
from train.start import initialised
from vosforge import InputError, VOSForgeError
from vosforge.seeding import rng_for
from vosforge.videos.video import MemoryVideo

ALL_PIXELS = Bootstrap(start=1.0, end=1.0)
TINY: dict[str, Any] = {
    "depth": 18,
    "width": 0.125,
    "device": "cpu",
    "schedule": "cosine",
    "loss": ALL_PIXELS,
    "warmup": 2,
    "workers": 0,
}


def crop(size: Any, **geometry: Any) -> Any:
    return Augmentation(geometry=Geometry(crop=size, cubic=False, **geometry))


PROPAGATION = PropagationSettings(iterations=3, batch=2, lr=2e-3, augmentation=crop(64, area=(0.3, 1.0)), **TINY)
S2M = S2MSettings(iterations=3, batch=2, lr=2e-3, augmentation=crop(64, short_side=80), **TINY)
FUSION = FusionSettings(iterations=3, batch=2, lr=2e-3, augmentation=crop(64), between=True, **TINY)
TRAINERS: dict[str, Any] = {
    "propagation": (train_propagation, PROPAGATION),
    "s2m": (train_s2m, S2M),
    "fusion": (train_fusion, FUSION),
}


@pytest.fixture(scope="module")
def videos(make_video: Any) -> Any:
    return [make_video(seed, num_frames=6) for seed in range(2)]


@pytest.fixture(scope="module")
def trained(videos: Any, tmp_path_factory: Any) -> Any:
    """Three steps of each network."""
    out = tmp_path_factory.mktemp("run")
    for train, settings in TRAINERS.values():
        train(videos, settings, out)
    return out


def state(path: Any) -> Any:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("kind", ["s2m", "propagation"])
def test_training_starts_from_imagenet(videos: Any, kind: Any, tmp_path: Any) -> None:
    theirs = resnet18()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    train, settings = TRAINERS[kind]
    change = {"width": 1.0, "iterations": 1, "imagenet": str(tmp_path / "resnet18.pth")}
    train(videos, settings.model_copy(update=change), tmp_path)
    start = state(tmp_path / f"{kind}_init.pth")
    found = [key for key in start if key.endswith("layer2.0.conv1.weight")]
    assert len(found) == {"s2m": 1, "propagation": 2}[kind]
    assert all(torch.equal(start[key], theirs.state_dict()["layer2.0.conv1.weight"]) for key in found)


def test_imagenet_is_refused_at_another_width() -> None:
    with pytest.raises(ValueError, match=r"imagenet needs width 1, not 0\.125"):
        PropagationSettings(imagenet="IMAGENET1K_V1", **TINY)


def test_imagenet_is_only_written_down_where_it_is_chosen() -> None:
    assert "imagenet" not in PropagationSettings().model_dump_json()
    chosen = PropagationSettings(imagenet="IMAGENET1K_V1")
    assert PropagationSettings.model_validate_json(chosen.model_dump_json()) == chosen


@pytest.mark.parametrize("kind", TRAINERS)
def test_training_writes_what_it_promises(trained: Any, kind: Any) -> None:
    start, end = state(trained / f"{kind}_init.pth"), state(trained / f"{kind}.pth")
    assert list(start) == list(end)
    changed = [key for key in start if not torch.equal(start[key], end[key])]
    assert len(changed) > 0.6 * len(start)
    load_network(kind, trained / f"{kind}.pth")
    lines = [json.loads(line) for line in (trained / f"{kind}.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(np.isfinite(line["loss"]) and line["loss"] > 0 and line["seconds"] >= 0 for line in lines)
    assert any((trained / "tensorboard" / kind).iterdir())


def test_batch_norm_statistics_move_in_s2m_only(trained: Any) -> None:
    for kind, moves in (("s2m", True), ("propagation", False)):
        start, end = state(trained / f"{kind}_init.pth"), state(trained / f"{kind}.pth")
        statistics = [key for key in start if "running_" in key]
        assert statistics
        assert any(not torch.equal(start[key], end[key]) for key in statistics) == moves


@pytest.mark.parametrize(
    "change", [{"batch_norm": "batch"}, {"stages": (ClipStage(start=0.5, geometry=Geometry(crop=80), frames=2),)}]
)
def test_other_ways_to_start_propagation(videos: Any, tmp_path: Any, change: Any) -> None:
    path = train_propagation(videos, PROPAGATION.model_copy(update=change), tmp_path)
    start, end = state(tmp_path / "propagation_init.pth"), state(path)
    moved = any(not torch.equal(start[key], end[key]) for key in start if "running_" in key)
    assert moved == ("batch_norm" in change)
    load_network("propagation", path)


@pytest.mark.parametrize("kind", TRAINERS)
def test_training_is_reproducible_bit_for_bit(videos: Any, trained: Any, tmp_path: Any, kind: Any) -> None:
    train, settings = TRAINERS[kind]
    torch.manual_seed(99)  # what the process drew before must not matter
    seen = []
    before = torch.random.get_rng_state()
    where = {"propagation": trained / "propagation.pth"} if kind == "fusion" else {}
    path = train(videos, settings, tmp_path, on_step=lambda *step: seen.append(step), **where)
    assert torch.equal(before, torch.random.get_rng_state())
    assert path == tmp_path / f"{kind}.pth"
    assert [step[:2] for step in seen] == [(1, 3), (2, 3), (3, 3)]
    first, second = state(trained / f"{kind}.pth"), state(path)
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = settings.model_copy(update={"seed": 1})
    third = state(train(videos, other, tmp_path / "other", **where))
    assert not all(torch.equal(first[key], third[key]) for key in first)


def test_a_diverging_run_says_so(videos: Any, tmp_path: Any) -> None:
    wild = PROPAGATION.model_copy(update={"lr": 1e30, "warmup": 0, "iterations": 6})
    with pytest.raises(VOSForgeError, match="diverged"):
        train_propagation(videos, wild, tmp_path)
    assert not (tmp_path / "propagation.pth").exists()


def test_fusion_needs_a_propagation_network(videos: Any, tmp_path: Any) -> None:
    with pytest.raises(InputError, match=r"propagation\.pth"):
        train_fusion(videos, FUSION, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_named(videos: Any, tmp_path: Any) -> None:
    with pytest.raises(InputError, match="no CUDA device"):
        train_s2m(videos, S2M.model_copy(update={"device": "cuda"}), tmp_path)


def test_evaluation_rounds(videos: Any, trained: Any) -> None:
    networks = Networks.load(trained)
    video = videos[0]
    result = evaluate_interactive(video, networks, 3, rng_for(0, "robot"))
    again = evaluate_interactive(video, networks, 3, rng_for(0, "robot"))
    assert result.video_id == video.id and result.object_ids == (1, 2) and len(result.rounds) == 3
    assert len({item.frame for item in result.rounds}) == 3
    for item, same in zip(result.rounds, again.rounds, strict=True):
        assert np.array_equal(item.masks, same.masks) and np.array_equal(item.scribbles, same.scribbles)
        expected = score_masks(video.masks(), item.masks, result.object_ids)
        assert item.j == expected.mean_j and item.f == expected.mean_f
        assert item.j_and_f == pytest.approx((item.j + item.f) / 2)
        assert set(np.unique(item.scribbles)) <= {-1, 0, 1, 2}
    assert result.j_and_f == result.rounds[-1].j_and_f
    with pytest.raises(InputError, match="at least one round"):
        evaluate_interactive(video, networks, 0, rng_for(0))


def test_evaluation_keeps_the_videos_own_labels(make_video: Any, trained: Any) -> None:
    plain = make_video(3, num_frames=3)
    labelled = MemoryVideo(plain.id, plain.frames(), np.array([0, 5, 9], np.uint8)[plain.masks()])
    networks = Networks.load(trained)
    a, b = (evaluate_interactive(video, networks, 2, rng_for(1)) for video in (plain, labelled))
    assert b.object_ids == (5, 9)
    for one, two in zip(a.rounds, b.rounds, strict=True):
        assert np.array_equal(np.array([0, 5, 9], np.uint8)[one.masks], two.masks)
        for label, strokes in ((1, 5), (2, 9)):
            assert np.array_equal(one.scribbles == label, two.scribbles == strokes)
        assert one.scores.j_and_f == two.scores.j_and_f
    bare = MemoryVideo("bare", plain.frames(), None)
    with pytest.raises(InputError, match="'bare' has no masks"):
        evaluate_interactive(bare, networks, 1, rng_for(0))


def test_overfitting_one_video_beats_the_start(make_video: Any, tmp_path: Any) -> None:
    """All three networks learn one tiny video by heart: the whole loop, in seconds."""
    video = make_video(5, num_frames=6, height=64, width=96, num_objects=2)
    train_s2m(
        [video],
        S2M.model_copy(
            update={
                "iterations": 60,
                "batch": 6,
                "lr": 5e-3,
                "augmentation": crop(64, short_side=64),
                "scribbles": ScribbleSettings(from_zero=0.6, robot_from_zero=0.7),
            }
        ),
        tmp_path,
    )
    train_propagation(
        [video],
        PROPAGATION.model_copy(update={"iterations": 80, "batch": 3, "lr": 1e-3, "batch_norm": "batch"}),
        tmp_path,
    )
    train_fusion([video], FUSION.model_copy(update={"iterations": 40, "lr": 5e-3}), tmp_path)
    before, after = (
        evaluate_interactive(video, Networks.load(tmp_path, suffix), 2, rng_for(0)) for suffix in ("_init", "")
    )
    assert after.j_and_f > before.j_and_f + 0.1, (before.j_and_f, after.j_and_f)


def test_the_matching_loss_teaches_keys_to_point_at_the_same_object(make_video: Any, tmp_path: Any) -> None:
    video = make_video(6, num_frames=5, height=64, width=96, num_objects=2)
    frames, labels = (torch.from_numpy(array.astype(np.int64)) for array in (video.frames()[:2], video.masks()[:2]))
    found = []
    for weight in (0.0, 1.0):
        settings = PROPAGATION.model_copy(
            update={"iterations": 90, "batch": 2, "batch_norm": "batch", "match_weight": weight}
        )
        network = load_network("propagation", train_propagation([video], settings, tmp_path / str(weight)))
        with torch.inference_mode():
            images = normalise(frames.numpy().astype(np.uint8))
            memory = network.memorize(images[:1], one_hot(labels[:1], 2))
            similarity = affinity(memory.key, network.query(images[1:]).key)
            first, second = (cell_shares(labels[t : t + 1], 3) for t in (0, 1))
            found.append(float(matching_loss(similarity, first, second, torch.ones(1, 2, dtype=torch.bool))))
    assert found[1] < 0.8 * found[0]


def test_stcn_learns_from_the_same_loss(videos: Any) -> None:
    samples = ClipDataset(videos, PROPAGATION)
    batch = type(samples[0])(*(torch.stack(parts) for parts in zip(samples[0], samples[1], strict=True)))
    network = initialised(lambda: STCN(18, 0.125), PROPAGATION, "stcn").train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = propagation_loss(network, batch, 1.0, match_weight=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_stcn_goes_the_whole_way(videos: Any, trained: Any, tmp_path: Any) -> None:
    shutil.copy(trained / "s2m.pth", tmp_path)
    train_propagation(videos, PROPAGATION.model_copy(update={"network": "stcn"}), tmp_path)
    train_fusion(videos, FUSION, tmp_path)
    networks = Networks.load(tmp_path)
    assert isinstance(networks.propagation, STCN)
    assert len(evaluate_interactive(videos[0], networks, 2, rng_for(0)).rounds) == 2


def test_sampling_in_another_process_gives_the_same_network(videos: Any, trained: Any, tmp_path: Any) -> None:
    # Forked workers hung here for good once OpenCV had run in the parent.
    path = train_s2m(videos, S2M.model_copy(update={"workers": 1}), tmp_path)
    expected, found = state(trained / "s2m.pth"), state(path)
    assert all(torch.equal(expected[key], found[key]) for key in expected)
