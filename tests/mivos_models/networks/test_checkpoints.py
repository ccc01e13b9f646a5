from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mivos_models import (
    S2M,
    STCN,
    Fusion,
    Propagation,
    SmallPropagation,
    SmallS2M,
    load_network,
    load_propagation,
    save_network,
)
from vosforge import InputError

SMALL: dict[str, Callable[[], nn.Module]] = {
    "s2m": lambda: S2M(18, 0.25),
    "propagation": lambda: Propagation(18, 0.25),
    "stcn": lambda: STCN(18, 0.25),
    "fusion": lambda: Fusion(0.25),
}


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize(("depth", "width"), [(18, 0.25), (50, 0.125), (18, 0.375)])
def test_size_is_read_from_the_weights(kind: str, depth: int, width: float, tmp_path: Path) -> None:
    sized = {"s2m": S2M, "propagation": Propagation, "stcn": STCN}
    network = Fusion(width) if kind == "fusion" else sized[kind](depth, width)
    save_network(network, tmp_path / "new" / "network.pth")
    loaded = load_network(kind, tmp_path / "new" / "network.pth")
    assert not loaded.training
    assert type(loaded) is type(network)
    ours, theirs = network.state_dict(), loaded.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["network.pth"]


@pytest.mark.parametrize(("kind", "build"), [("s2m", SmallS2M), ("propagation", SmallPropagation)])
def test_the_small_networks_are_known_by_their_weights(kind: str, build: type[nn.Module], tmp_path: Path) -> None:
    network = build()
    save_network(network, tmp_path / "network.pth")
    loaded = load_network(kind, tmp_path / "network.pth")
    assert type(loaded) is build and not loaded.training
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in network.state_dict().items())
    other = "s2m" if kind == "propagation" else "propagation"
    assert f"looks like a network of kind '{kind}'" in refused(other, network.state_dict())
    if kind == "propagation":
        assert type(load_propagation(tmp_path / "network.pth")) is build


def test_the_file_is_a_bare_state_dict(tmp_path: Path) -> None:
    save_network(Fusion(), tmp_path / "fusion.pth")
    state = torch.load(tmp_path / "fusion.pth", weights_only=True)
    assert list(state)[:2] == ["conv1.0.weight", "conv1.0.bias"]
    assert len(state) == 12


def test_loading_draws_no_random_numbers_and_copies() -> None:
    state = SMALL["propagation"]().state_dict()
    before = torch.random.get_rng_state()
    loaded = load_network("propagation", state)
    assert torch.equal(before, torch.random.get_rng_state())
    state["decoder.pred.weight"].zero_()
    assert loaded.decoder.pred.weight.any()


def refused(kind: str, weights: object) -> str:
    with pytest.raises(InputError) as error:
        load_network(kind, weights)
    return str(error.value)


def test_partial_wrong_and_misshapen_states_are_named() -> None:
    state = SMALL["propagation"]().state_dict()
    partial = {key: value for key, value in state.items() if not key.startswith("decoder.pred")}
    assert "missing keys: 2 (decoder.pred.weight, decoder.pred.bias)" in refused("propagation", partial)
    assert "unknown keys: 1 (extra)" in refused("propagation", {**state, "extra": torch.zeros(1)})
    wrong = {**state, "mask_rgb_encoder.conv1.weight": torch.zeros(16, 4, 7, 7)}
    assert "mask_rgb_encoder.conv1.weight is [16, 4, 7, 7] instead of [16, 5, 7, 7]" in refused("propagation", wrong)
    assert "looks like a network of kind 'propagation'" in refused("s2m", state)
    assert "looks like a network of kind 'propagation'" in refused("stcn", state)
    assert "looks like a network of kind 'stcn'" in refused("propagation", SMALL["stcn"]().state_dict())
    assert "missing keys: 12" in refused("fusion", {})
    assert "choose one of s2m, propagation, stcn, fusion" in refused("sm2", state)


def test_broken_files_are_named(tmp_path: Path) -> None:
    assert "cannot read the checkpoint" in refused("fusion", tmp_path / "none.pth")
    path = tmp_path / "fusion.pth"
    save_network(Fusion(), path)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        assert "fusion.pth is damaged, or not a checkpoint" in refused("fusion", path)
    torch.save({"network": Fusion().state_dict(), "it": 3}, path)
    assert "must hold a bare state dict (names and tensors), not a dict with network, it" in refused("fusion", path)
    torch.save([1, 2], path)
    assert "not a list" in refused("fusion", path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fusion.pth"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="disk full"):
        save_network(Fusion(), path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("fusion.pth", b"old")]


def test_either_network_that_carries_masks_is_known_by_its_weights(tmp_path: Path) -> None:
    for network in (Propagation(18, 0.125), STCN(18, 0.125)):
        save_network(network, tmp_path / "some.pth")
        for weights in (tmp_path / "some.pth", network.state_dict()):
            assert type(load_propagation(weights)) is type(network)
    save_network(Fusion(0.25), tmp_path / "some.pth")
    with pytest.raises(InputError, match=r"some\.pth is not a complete .* 'fusion'"):
        load_propagation(tmp_path / "some.pth")
