"""The names and shapes in the published checkpoints, put together from torchvision's trunks and a table of the rest."""

from collections.abc import Iterator

import pytest
import torch
from torchvision.models import resnet18, resnet50

from mivos_models import S2M, STCN, Fusion, Propagation

Entry = tuple[str, tuple[int, ...], str]
PAPER = ("layer1", "layer2", "layer3")
RENAMED = ("res2", "layer2", "layer3")


def trunk(prefix: str, depth: int, channels: int, stages: tuple[str, ...], bias: bool = False) -> Iterator[Entry]:
    """A ResNet of torchvision without its end, with ``channels`` inputs; ``bias``: of convolutions."""
    with torch.device("meta"):
        state = {18: resnet18, 50: resnet50}[depth]().state_dict()
    names = {"conv1": "conv1", "bn1": "bn1"} | {f"layer{n}": stage for n, stage in enumerate(stages, start=1)}
    for key, value in state.items():
        first, rest = key.split(".", 1)
        if first in names:
            shape = (*value.shape[:1], channels, *value.shape[2:]) if first == "conv1" else tuple(value.shape)
            yield f"{prefix}.{names[first]}.{rest}", shape, str(value.dtype)
            if bias and len(shape) == 4:
                yield f"{prefix}.{names[first]}.{rest.removesuffix('weight')}bias", shape[:1], str(value.dtype)


def layers(table: str) -> Iterator[Entry]:
    """A line a layer: its name, outputs, inputs and size; a batch norm has outputs alone, "-" says there is no bias."""
    for line in table.strip().splitlines():
        name, outputs, *rest = line.split()
        shape = tuple(map(int, (outputs, *(number for number in rest if number != "-"))))
        if not rest:
            yield from ((f"{name}.{part}", shape, "torch.float32") for part in ("weight", "bias"))
            yield from ((f"{name}.{part}", shape, "torch.float32") for part in ("running_mean", "running_var"))
            yield f"{name}.num_batches_tracked", (), "torch.int64"
        else:
            yield f"{name}.weight", shape, "torch.float32"
            if "-" not in rest:
                yield f"{name}.bias", shape[:1], "torch.float32"


DECODER = """
decoder.compress.downsample 512 1024 3 3
decoder.compress.conv1 512 1024 3 3
decoder.compress.conv2 512 512 3 3
decoder.up_16_8.out_conv.downsample 256 512 3 3
decoder.up_16_8.out_conv.conv1 256 512 3 3
decoder.up_16_8.out_conv.conv2 256 256 3 3
decoder.up_8_4.out_conv.conv1 256 256 3 3
decoder.up_8_4.out_conv.conv2 256 256 3 3
decoder.pred 1 256 3 3
"""
PROPAGATION = """
kv_m_f16.key_proj 128 1024 3 3
kv_m_f16.val_proj 512 1024 3 3
kv_q_f16.key_proj 128 1024 3 3
kv_q_f16.val_proj 512 1024 3 3
decoder.up_16_8.skip_conv1 512 512 3 3
decoder.up_16_8.skip_conv2.conv1 512 512 3 3
decoder.up_16_8.skip_conv2.conv2 512 512 3 3
decoder.up_8_4.skip_conv1 256 256 3 3
decoder.up_8_4.skip_conv2.conv1 256 256 3 3
decoder.up_8_4.skip_conv2.conv2 256 256 3 3
"""
STCN_LAYERS = """
value_encoder.fuser.block1.downsample 512 1280 3 3
value_encoder.fuser.block1.conv1 512 1280 3 3
value_encoder.fuser.block1.conv2 512 512 3 3
value_encoder.fuser.attention.ChannelGate.mlp.1 32 512
value_encoder.fuser.attention.ChannelGate.mlp.3 512 32
value_encoder.fuser.attention.SpatialGate.spatial.conv 1 2 7 7
value_encoder.fuser.block2.conv1 512 512 3 3
value_encoder.fuser.block2.conv2 512 512 3 3
key_proj.key_proj 64 1024 3 3
key_comp 512 1024 3 3
decoder.up_16_8.skip_conv 512 512 3 3
decoder.up_8_4.skip_conv 256 256 3 3
"""
S2M_LAYERS = """
classifier.project.0 48 256 1 1 -
classifier.project.1 48
classifier.aspp.convs.0.0 256 2048 1 1 -
classifier.aspp.convs.0.1 256
classifier.aspp.convs.1.0 256 2048 3 3 -
classifier.aspp.convs.1.1 256
classifier.aspp.convs.2.0 256 2048 3 3 -
classifier.aspp.convs.2.1 256
classifier.aspp.convs.3.0 256 2048 3 3 -
classifier.aspp.convs.3.1 256
classifier.aspp.convs.4.1 256 2048 1 1 -
classifier.aspp.convs.4.2 256
classifier.aspp.project.0 256 1280 1 1 -
classifier.aspp.project.1 256
classifier.classifier.0 256 304 3 3 -
classifier.classifier.1 256
classifier.classifier.3 1 256 1 1
"""
FUSION = """
conv1.0 32 9 3 3
conv2.0 32 32 3 3
conv2.2 32 32 3 3
conv3.0 32 32 3 3
conv3.2 32 32 3 3
final_conv 1 32 3 3
"""
PUBLISHED = {
    S2M: lambda: [*trunk("backbone", 50, 6, (*PAPER, "layer4")), *layers(S2M_LAYERS)],
    Propagation: lambda: [
        *trunk("mask_rgb_encoder", 50, 5, PAPER, bias=True),
        *trunk("rgb_encoder", 50, 3, RENAMED),
        *layers(PROPAGATION),
        *layers(DECODER),
    ],
    STCN: lambda: [
        *trunk("value_encoder", 18, 5, PAPER, bias=True),
        *trunk("key_encoder", 50, 3, RENAMED),
        *layers(STCN_LAYERS),
        *layers(DECODER),
    ],
    Fusion: lambda: list(layers(FUSION)),
}


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_a_network_has_the_published_names_and_shapes(kind) -> None:
    with torch.device("meta"):
        network = kind()
    expected = PUBLISHED[kind]()
    assert len(expected) == len(set(expected))
    ours = {(key, tuple(value.shape), str(value.dtype)) for key, value in network.state_dict().items()}
    assert ours == set(expected)
