"""Networks under a synthetic weight rule that depends only on state-dict keys and shapes, and the golden arrays."""

import zlib
from collections.abc import Callable, Container, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"

GAIN = {
    ".key_proj.weight": 8.0,
    ".val_proj.weight": 3.0,
    "mask_rgb_encoder.conv1.weight": 2.0,
    "value_encoder.conv1.weight": 2.0,
    "decoder.pred.weight": 5.0,
    "final_conv.weight": 3.0,
    "classifier.classifier.3.weight": 40.0,
}
CONSTANT = {"decoder.pred.bias": 0.6, "final_conv.bias": 0.0, "classifier.classifier.3.bias": 3.0}


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name in CONSTANT:
        return np.full(shape, CONSTANT[name], np.float32)
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)
    if name.endswith("running_mean"):
        values = 0.05 * noise
    elif name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(noise)
    elif len(shape) == 1 and name.endswith(".weight"):
        values = 1 + 0.05 * noise
    elif len(shape) == 1:
        values = 0.05 * noise
    else:
        gain = next((gain for suffix, gain in GAIN.items() if name.endswith(suffix)), 1.0)
        if shape[1] >= 16:
            noise = noise - noise.mean(axis=1, keepdims=True)
        values = gain * noise / np.sqrt(np.prod(shape[1:]))
    return values.astype(np.float32)


def fill_network(network: nn.Module) -> nn.Module:
    state = {key: torch.from_numpy(fill(key, tuple(value.shape))) for key, value in network.state_dict().items()}
    network.load_state_dict(state)
    return network.eval()


@pytest.fixture(scope="session")
def filled() -> Callable[[nn.Module], nn.Module]:
    """Gives a network its synthetic weights."""
    return fill_network


@pytest.fixture(scope="session")
def official_state() -> Callable[..., Mapping[str, torch.Tensor]]:
    """The synthetic state dict of a published network from its official key list, or the part with some names."""

    def state(kind: str, names: Container[str] | None = None) -> Mapping[str, torch.Tensor]:
        rows = [(key, shape) for key, shape, _ in read_keys(kind) if names is None or key in names]
        return {key: torch.from_numpy(np.asarray(fill(key, shape))) for key, shape in rows}

    return state


@pytest.fixture(scope="session")
def official_keys() -> Callable[[str], list[tuple[str, tuple[int, ...], str]]]:
    """Reads the official key list of a published network: name, shape, dtype."""
    return read_keys


def read_keys(kind: str) -> list[tuple[str, tuple[int, ...], str]]:
    rows = (REFERENCE / f"keys_{kind}.tsv").read_text().splitlines()[1:]
    cells = [row.split("\t") for row in rows]
    return [
        (key, () if shape == "scalar" else tuple(int(n) for n in shape.split(",")), dtype)
        for key, shape, dtype, _ in cells
    ]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Mapping[str, np.ndarray]]:
    """Reads a file of reference outputs; skips the test where there is none."""

    def read(name: str) -> Mapping[str, np.ndarray]:
        path = REFERENCE / "goldens" / f"{name}.npz"
        if not path.exists():
            pytest.skip("the reference outputs are not beside this checkout")
        return np.load(path)

    return read
