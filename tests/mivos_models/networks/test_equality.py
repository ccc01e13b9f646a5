"""Equality with the published networks: their outputs under synthetic weights, where those are at hand."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from mivos_models import (
    S2M,
    STCN,
    Fusion,
    InteractiveRunner,
    Memory,
    Padding,
    Propagation,
    aggregate,
    difference_maps,
    join,
    load_network,
    normalise,
    read,
)

Golden = Callable[[str], Mapping[str, np.ndarray]]
PROBABILITY = 2e-5
FEATURE = 1e-4
HALF = 5e-4


def near(measured: torch.Tensor, expected: np.ndarray, limit: float) -> None:
    assert tuple(measured.shape) == expected.shape
    difference = float((measured - torch.from_numpy(expected.astype(np.float32))).abs().max())
    print(f"max difference {difference:.2e} (limit {limit:.0e})")
    assert difference <= limit


def padded(rgb: np.ndarray) -> torch.Tensor:
    return Padding.for_size(*rgb.shape[:2]).pad(normalise(rgb)).unsqueeze(0)


def one_hot(mask: np.ndarray, num_objects: int) -> torch.Tensor:
    """[1,K,H,W] float32."""
    return torch.from_numpy(np.stack([mask == j for j in range(1, num_objects + 1)])).float().unsqueeze(0)


def channels_first(rows: torch.Tensor) -> torch.Tensor:
    """[1,K,1,h,w,C] -> [K,C,h,w]."""
    return rows[0, :, 0].movedim(-1, 1)


@pytest.fixture(scope="module")
def propagation(official_state: Callable, golden: Golden) -> Propagation:
    golden("weights_probe")
    return load_network("propagation", official_state("propagation"))


@pytest.fixture(scope="module")
def s2m(official_state: Callable, golden: Golden) -> S2M:
    golden("weights_probe")
    return load_network("s2m", official_state("s2m"))


@pytest.fixture(scope="module")
def memories(propagation: Propagation, golden: Golden) -> dict[str, Memory]:
    data = golden("encoders")
    first, second = padded(data["mem_rgb"]), padded(data["mem2_rgb"])
    with torch.inference_mode():
        return {
            "mem3": propagation.memorize(first, one_hot(data["mem_mask"], 3)),
            "mem2": propagation.memorize(second, torch.from_numpy(data["mem2_soft"]).transpose(0, 1)),
            "mem1": propagation.memorize(first, one_hot(data["mem_mask"], 1)),
        }


@pytest.fixture(scope="module")
def query(propagation: Propagation, golden: Golden):
    with torch.inference_mode():
        return propagation.query(padded(golden("encoders")["query_rgb"]))


def test_weight_rule(official_state: Callable, golden: Golden) -> None:
    probe = golden("weights_probe")
    names = {str(name): float(total) for name, total in zip(probe["names"], probe["sum"], strict=True)}
    for kind in ("s2m", "propagation", "fusion"):
        for name, values in official_state(kind, names).items():
            assert values.double().sum().item() == pytest.approx(names.pop(name), abs=1e-6), name
    assert not names


@pytest.mark.parametrize("kind", ["s2m", "propagation", "stcn", "fusion"])
def test_official_keys(kind: str, official_keys: Callable, golden: Golden) -> None:
    golden("weights_probe")
    with torch.device("meta"):
        network = {"s2m": S2M, "propagation": Propagation, "stcn": STCN, "fusion": Fusion}[kind]()
    ours = {(key, tuple(value.shape), str(value.dtype)) for key, value in network.state_dict().items()}
    assert ours == {(key, shape, f"torch.{dtype}") for key, shape, dtype in official_keys(kind)}


@pytest.mark.parametrize("case", ["a", "b"])
def test_s2m(case: str, s2m: S2M, golden: Golden) -> None:
    data = golden("s2m")
    padding = Padding.for_size(*data[f"{case}_rgb"].shape[:2])
    assert list(padding) == data[f"{case}_pad"].tolist()
    maps = torch.from_numpy(np.stack([data[f"{case}_{name}"] for name in ("prev", "pos", "neg")])).float()
    x = padding.pad(torch.cat([normalise(data[f"{case}_rgb"]), maps])).unsqueeze(0)
    with torch.inference_mode():
        near(s2m(x), data[f"{case}_logits"], FEATURE)
        if case == "b":
            features = s2m.backbone(x)
            near(features[0][0, ::8], data["b_low_level_ch0_32"], 5e-3)
            near(features[-1][0, ::32], data["b_out_ch0_64"], 5e-3)
            near(s2m.classifier.aspp(features[-1])[0, ::8], data["b_aspp_ch"], 5e-3)


@pytest.mark.parametrize("name", ["mem3", "mem2", "mem1"])
def test_memorize(name: str, memories: dict[str, Memory], golden: Golden) -> None:
    data = golden("encoders")
    near(channels_first(memories[name].key), data[f"{name}_k"], FEATURE)
    near(channels_first(memories[name].value)[:, ::8], data[f"{name}_v_every8"], FEATURE)


def test_query(propagation: Propagation, query, golden: Golden) -> None:
    data = golden("encoders")
    with torch.inference_mode():
        f4, f8, f16 = propagation.rgb_encoder(padded(data["query_rgb"]))
    near(query.key[0], data["q_k16"], FEATURE)
    near(query.value[0, ::4], data["q_v16_every4"], FEATURE)
    near(f16[0, ::16], data["q_f16_every16"], FEATURE)
    near(f8[0, ::32], data["q_f8_every32"], FEATURE)
    near(f4[0, ::64], data["q_f4_every64"], FEATURE)


@pytest.mark.parametrize(("name", "top_k"), [("read_none", None), ("read_k50", 50), ("read_k20", 20)])
def test_memory_read(name: str, top_k: int | None, golden: Golden) -> None:
    data = golden("memory_read")
    key, value = (torch.from_numpy(data[part]).unsqueeze(1).movedim(2, -1) for part in ("mk", "mv"))
    near(read(Memory(key, value), torch.from_numpy(data["qk"]), top_k)[0], data[name], PROBABILITY)


@pytest.mark.parametrize("num_objects", [3, 1])
def test_segment(
    num_objects: int, propagation: Propagation, memories: dict[str, Memory], query, golden: Golden
) -> None:
    data = golden("segment")
    memory = join([memories["mem3"], memories["mem2"]]) if num_objects == 3 else memories["mem1"]
    with torch.inference_mode():
        for name, top_k, step in (("k50", 50, 1), ("k20", 20, 2), ("none", None, 2)):
            found = propagation.segment(query, memory, top_k).transpose(0, 1)
            near(found[..., ::step, ::step], data[f"prob{num_objects}_{name}"], PROBABILITY)
            if name == "k50":
                near(aggregate(found)[..., ::2, ::2], data[f"agg{num_objects}_k50"], PROBABILITY)


def test_aggregate(golden: Golden) -> None:
    data = golden("segment")
    given = torch.from_numpy(data["agg_in"])
    near(aggregate(given), data["agg_wbg"], PROBABILITY)
    near(aggregate(given, hard=True), data["agg_wbg_hard"], PROBABILITY)


def test_fusion_alone(official_state: Callable, golden: Golden) -> None:
    data = golden("fusion_raw")
    network = load_network("fusion", official_state("fusion"))
    inputs = [torch.from_numpy(data[name]) for name in ("im", "seg1", "seg2", "attn", "time")]
    with torch.inference_mode():
        near(network(*inputs), data["logits"], FEATURE)


def test_fusion(
    official_state: Callable, propagation: Propagation, memories: dict[str, Memory], query, golden: Golden
) -> None:
    data, encoders, segment = golden("fusion"), golden("encoders"), golden("segment")
    network = load_network("fusion", official_state("fusion"))
    new = torch.from_numpy(segment["prob3_k50"])
    differences = difference_maps(one_hot(encoders["mem_mask"], 3), new.transpose(0, 1))
    with torch.inference_mode():
        attention = propagation.attention(query, memories["mem3"], differences)[0]
        near(attention[..., ::2, ::2], data["attn"], PROBABILITY)
        image = padded(encoders["query_rgb"]).expand(3, -1, -1, -1)
        time = torch.from_numpy(data["dist"]).expand(3, -1)
        logits = network(image, torch.from_numpy(data["prev"]), new, attention, time)
    near(logits, data["fusion_logits"], FEATURE)
    near(aggregate(torch.sigmoid(logits))[..., ::2, ::2], data["fused_agg"], PROBABILITY)


def test_whole_clip(propagation: Propagation, golden: Golden) -> None:
    clip, expected = golden("clip"), golden("end_to_end_1obj")
    runner = InteractiveRunner(propagation, clip["clip"], 1)
    masks = runner.interact(0, (clip["gt"][0] == 1).astype(np.uint8))
    different = int((masks != expected["masks"]).sum())
    print(f"{different} pixels differ")
    assert different <= 20
    for position, t in enumerate((0, 4, 8)):
        near(torch.from_numpy(runner.probabilities(t)[1]), expected["prob_f16"][position], HALF)


@pytest.fixture(scope="module")
def stcn(official_state: Callable, golden: Golden) -> STCN:
    golden("stcn")
    return load_network("stcn", official_state("stcn"))


@torch.inference_mode()
def test_stcn(stcn: STCN, golden: Golden) -> None:
    data, inputs = golden("stcn"), golden("encoders")
    frame, query = padded(inputs["mem_rgb"]), stcn.query(padded(inputs["query_rgb"]))
    near(query.key[0], data["q_k16"], FEATURE)
    near(query.value[0, ::8], data["q_thin_every8"], FEATURE)
    near(query.features[0, ::32], data["q_f16_every32"], FEATURE)

    three, one = (one_hot(inputs["mem_mask"], num_objects) for num_objects in (3, 1))
    memory = stcn.memorize(frame, three, stcn.query(frame))
    near(channels_first(memory.key)[0], data["mem_k16"], FEATURE)
    near(channels_first(memory.value)[:, ::16], data["v3_every16"], FEATURE)
    near(channels_first(stcn.memorize(frame, one).value)[:, ::16], data["v1_every16"], FEATURE)

    numbered = memory._replace(value=torch.arange(1.0, 61).view(1, 1, 1, 6, 10, 1))
    for name, top_k in (("k20", 20), ("none", None)):
        near(stcn.segment(query, memory, top_k)[0, :, None, ::2, ::2], data[f"prob3_{name}"], PROBABILITY)
        near(read(numbered, query.key, top_k, stcn.affinity).flatten(), data[f"affinity_colsum_{name}"], FEATURE)
    differences = torch.stack([three, 1 - three], dim=2)
    near(stcn.attention(query, memory, differences)[0, ..., ::4, ::4], data["attn3"], PROBABILITY)
