"""Weights made from nothing but a network's own key names and shapes: the same everywhere, and lively enough that
attention is sharp and masks are neither all background nor all object.
"""

import zlib
from typing import TypeVar

import numpy as np
import torch
from torch import nn

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

Network = TypeVar("Network", bound=nn.Module)


def synthetic(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of the state dict's entry ``name``."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name in CONSTANT:
        return np.full(shape, CONSTANT[name], np.float32)
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)
    if name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(noise)
    elif len(shape) == 1:
        values = 1 + 0.05 * noise if name.endswith(".weight") else 0.05 * noise
    else:
        gain = next((gain for suffix, gain in GAIN.items() if name.endswith(suffix)), 1.0)
        if shape[1] >= 16:
            noise = noise - noise.mean(axis=1, keepdims=True)
        values = gain * noise / np.sqrt(np.prod(shape[1:]))
    return values.astype(np.float32)


def filled(network: Network) -> Network:
    """``network`` itself with synthetic weights, in evaluation mode."""
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict({key: torch.from_numpy(synthetic(key, shape)) for key, shape in shapes.items()})
    return network.eval()
