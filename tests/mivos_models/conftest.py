"""Networks under a synthetic weight rule that depends only on state-dict keys and shapes, and the golden arrays."""

from collections.abc import Callable, Container, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.weights import filled as filled_network
from benchmarks.weights import synthetic

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"


@pytest.fixture(scope="session")
def filled() -> Callable[[nn.Module], nn.Module]:
    """Gives a network its synthetic weights."""
    return filled_network


@pytest.fixture(scope="session")
def official_state() -> Callable[..., Mapping[str, torch.Tensor]]:
    """The synthetic state dict of a published network from its official key list, or the part with some names."""

    def state(kind: str, names: Container[str] | None = None) -> Mapping[str, torch.Tensor]:
        rows = [(key, shape) for key, shape, _ in read_keys(kind) if names is None or key in names]
        return {key: torch.from_numpy(np.asarray(synthetic(key, shape))) for key, shape in rows}

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
