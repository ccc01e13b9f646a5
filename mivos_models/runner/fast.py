"""Faster copies of the networks for inference: fewer operations, outputs equal up to rounding.

Batch norm is folded into convolutions. On a CPU, features are channels-last, and wide 3×3 convolutions use Winograd's
algorithm (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016) with larger tiles in decoders.
Reduced precision uses larger tiles in encoders, too, and float16 on a GPU. Fusion processes a frame in bands of rows.
"""

import copy
import functools
import itertools
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import fusion

from mivos_models.networks.decoder import Decoder
from mivos_models.networks.fusion import Fusion
from mivos_models.networks.resnet import ResNet
from mivos_models.networks.spacetime import SpaceTimeNetwork
from vosforge import InputError

Network = TypeVar("Network", bound=nn.Module)
Precision = Literal["full", "reduced"]
"""docs/networks.md has the gain and cost of "reduced"."""

SMALL_TILES = (0.0, 1.0, -1.0)
"""Interpolation points besides infinity, for tiles of 2×2 outputs."""
LARGE_TILES = (0.0, 0.75, -0.75, 1.5, -1.5)
"""The same for 4×4 outputs, which need about half the products and lose a digit (a quarter of the loss with 0, ±1, ±2).

Decoders tolerate that; in keys, it can change which memory cell is the last of the top k."""
_INPUTS_AT_ONCE = 1728  # per channel and thread; intermediate results stay in the core's cache
MIN_WEIGHTS = 128 * 128
"""Below this many pairs of channels, a direct convolution is as fast."""
MIN_CELLS = 1500
"""Below this many grid cells, fewer than weights, a direct convolution is as fast."""
_ROWS_AT_ONCE = 96
"""Rows per band of full-resolution features: small enough for caches and for reuse by the allocator."""


def check_precision(precision: str) -> None:
    """Raise InputError unless it is a `Precision`."""
    if precision not in get_args(Precision):
        raise InputError(f"precision must be 'full' or 'reduced', not {precision!r}")


def optimized(network: Network, precision: Precision = "full") -> Network:
    """A faster, independent copy of a network in evaluation mode.

    "reduced" precision is faster and less exact. Anything but a module (a stand-in) is returned unchanged.
    """
    if not isinstance(network, nn.Module):
        return network
    result = copy.deepcopy(network).requires_grad_(False)
    for module in list(result.modules()):
        _fold(module)
    if all(parameter.device.type == "cpu" for parameter in result.parameters()):
        decoding = {part for module in result.modules() if isinstance(module, Decoder) for part in module.modules()}
        for module in list(result.modules()):
            points = LARGE_TILES if precision == "reduced" or module in decoding else SMALL_TILES
            for name, child in module.named_children():
                if isinstance(child, nn.Conv2d):
                    module.add_module(name, _for_cpu(child, points))
            if isinstance(module, Fusion):
                reach = sum(part.padding[0] for part in module.modules() if isinstance(part, nn.Conv2d))  # type: ignore[misc]
                module.forward = functools.partial(_in_bands, module.forward, reach)  # type: ignore[method-assign]
            if isinstance(module, ResNet | Decoder | Fusion):
                module.forward = functools.partial(_one_by_one, module.forward)  # type: ignore[method-assign]
    elif precision == "reduced":
        compute_in_half(result)
    return result


def compute_in_half(network: nn.Module) -> None:
    """Make a network compute in float16, except for memory reads; results are float32."""
    parts: list[tuple[nn.Module, str]] = [(network, "forward")]
    if isinstance(network, SpaceTimeNetwork):
        parts = [(network, "memorize"), (network, "query"), (network.decoder, "forward")]
    for module, name in parts:
        setattr(module, name, functools.partial(_in_half, getattr(module, name)))


def _in_half(function: Callable[..., Any], frame: Tensor, *inputs: Any) -> Any:
    with torch.autocast(frame.device.type, torch.float16):
        outputs = function(frame, *inputs)
    return outputs.float() if isinstance(outputs, Tensor) else type(outputs)(*(part.float() for part in outputs))


def _one_by_one(forward: Callable[..., Any], *inputs: Tensor) -> Any:
    """Process a batch's entries one by one; an input [1,...] is shared by all.

    A whole batch's features exceed the caches and the allocator's reuse limit, so each would take new memory pages.
    """
    B = max(len(x) for x in inputs)
    if any(len(x) not in (1, B) for x in inputs):
        return forward(*inputs)
    outputs = [forward(*(x if len(x) == 1 else x[b : b + 1] for x in inputs)) for b in range(B)]
    if B == 1:
        return outputs[0]
    return (
        torch.cat(outputs)
        if isinstance(outputs[0], Tensor)
        else [torch.cat(each) for each in zip(*outputs, strict=True)]
    )


def _in_bands(forward: Callable[..., Tensor], reach: int, *inputs: Tensor) -> Tensor:
    """Apply a convolutional ``forward`` to images [B,C,H,W] in bands of rows; other inputs pass unchanged.

    ``reach``: receptive field in rows above and below a pixel.
    """
    height = inputs[0].shape[2]
    bands = []
    for top in range(0, height, _ROWS_AT_ONCE):
        first, rows = max(0, top - reach), min(height - top, _ROWS_AT_ONCE)
        band = forward(*(x[:, :, first : top + rows + reach] if x.ndim == 4 else x for x in inputs))
        bands.append(band[:, :, top - first :][:, :, :rows])
    return torch.cat(bands, dim=2)


def _fold(module: nn.Module) -> None:
    """Fold each batch norm among the children into the convolution before it."""
    children = list(module.named_children())
    for (name, conv), (norm_name, norm) in itertools.pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.add_module(name, fusion.fuse_conv_bn_eval(conv, norm))
            module.add_module(norm_name, nn.Identity())


def _for_cpu(conv: nn.Conv2d, points: tuple[float, ...]) -> nn.Module:
    """The fastest equivalent of a convolution with channels-last output."""
    plain = conv.groups == 1 and conv.padding_mode == "zeros" and conv.dilation == (1, 1)
    if plain and conv.kernel_size == (1, 1) and conv.padding == (0, 0):
        return Pointwise(conv)
    conv.weight.data = conv.weight.contiguous(memory_format=torch.channels_last)
    same_size = (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    wide = conv.in_channels * conv.out_channels >= MIN_WEIGHTS
    return Winograd(conv, points) if plain and same_size and wide else conv


class Pointwise(nn.Module):
    """A 1×1 convolution as one matrix product; PyTorch's own is slow on one thread."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.weight, self.bias = nn.Parameter(conv.weight.flatten(1), requires_grad=False), conv.bias
        self.stride = conv.stride

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,O,H/stride,W/stride], channels last."""
        down, right = self.stride
        cells = x[:, :, ::down, ::right].permute(0, 2, 3, 1)
        return functional.linear(cells, self.weight, self.bias).permute(0, 3, 1, 2)


class Winograd(nn.Module):
    """Winograd's 3×3 convolution: instead of 36 products per 2×2 outputs, F(2×2, 3×3) needs 16 and F(4×4, 3×3) 9.

    ``points``: interpolation points besides infinity, one more than a tile has output rows.
    """

    def __init__(self, conv: nn.Conv2d, points: tuple[float, ...] = SMALL_TILES):
        super().__init__()
        self.points = points
        _, kernel_transform, _ = _transforms(points)
        weight = conv.weight.detach().permute(2, 3, 1, 0).flatten(0, 1)
        transformed = (kernel_transform @ weight.flatten(1)).view(-1, *weight.shape[1:])
        self.weight = nn.Parameter(transformed, requires_grad=False)  # [reach²,C,O]
        self.direct = conv

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,O,H,W], channels last."""
        if x.shape[2] * x.shape[3] < MIN_CELLS:
            return self.direct(x)
        bias = 0 if self.direct.bias is None else self.direct.bias
        input_transform, _, output_transform = (matrix.to(x.dtype) for matrix in _transforms(self.points))
        (B, C, H, W), out_channels = x.shape, self.weight.shape[2]
        tile, reach = len(self.points) - 1, len(self.points) + 1
        rows, columns = -(-H // tile), -(-W // tile)
        right, below = 1 + columns * tile - W, 1 + rows * tile - H
        padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, right, 1, below))
        tiles = padded.unfold(1, reach, tile).unfold(2, reach, tile).permute(0, 4, 5, 1, 2, 3)
        strip = -(-_INPUTS_AT_ONCE * torch.get_num_threads() // (reach**2 * columns))
        result = x.new_empty(B, rows, tile, columns, tile, out_channels)
        for video, out in zip(tiles, result, strict=True):
            for part, place in zip(video.split(strip, dim=2), out.split(strip), strict=True):
                spread = (input_transform @ part.reshape(reach**2, -1)).view(reach**2, -1, C)
                products = (spread @ self.weight).view(reach**2, -1)
                outputs = (output_transform @ products).view(tile, tile, -1, columns, out_channels)
                torch.add(outputs.permute(2, 0, 3, 1, 4), bias, out=place)
        return result.view(B, rows * tile, columns * tile, out_channels)[:, :H, :W].permute(0, 3, 1, 2)


@functools.cache
def _transforms(points: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Two-dimensional Toom-Cook transforms: input [n²,n²], kernel [n²,9], output [tile²,n²], n = tile + 2.

    One row per point: polynomials are evaluated at the points and infinity, multiplied, and interpolated.
    """
    at = np.array(points, float)
    others = [np.delete(at, index) for index in range(len(at))]
    infinity = np.eye(len(at) + 1)[-1]
    inputs = np.stack([*(np.append(np.poly(rest)[::-1], 0) for rest in others), np.poly(at)[::-1]])
    scale = np.array([np.prod(point - rest) for point, rest in zip(at, others, strict=True)])
    kernel = np.vstack([at[:, None] ** np.arange(3) / scale[:, None], infinity[-3:]])
    tile = len(at) - 1
    outputs = np.vstack([at[:, None] ** np.arange(tile), infinity[-tile:]]).T
    squared = (torch.from_numpy(np.kron(matrix, matrix)) for matrix in (inputs, kernel, outputs))
    input_transform, kernel_transform, output_transform = (matrix.float() for matrix in squared)
    return input_transform, kernel_transform, output_transform
