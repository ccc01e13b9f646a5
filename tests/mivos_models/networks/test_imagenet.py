"""ImageNet's weights, by random ones in torchvision's layout: there is no network in tests."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import MobileNetV2 as MobileNetV2Network
from torchvision.models import ResNet, ResNet18_Weights, ResNet50_Weights, mobilenet_v2, resnet18, resnet50
from torchvision.models.feature_extraction import create_feature_extractor

from mivos_models import load_imagenet
from mivos_models.networks import resnet as trunks
from mivos_models.networks.mobilenet import MobileNetV2
from mivos_models.networks.stcn import ValueEncoder
from vosforge import InputError


@pytest.fixture(scope="module")
def theirs() -> dict[int, ResNet]:
    networks = {18: resnet18(), 50: resnet50()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for network in networks.values():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):  # what training leaves in it
                    nn.init.uniform_(module.weight, 0.5, 1.0)
                    nn.init.normal_(module.bias, std=0.1)
                    nn.init.normal_(module.running_mean, std=0.1)
                    nn.init.uniform_(module.running_var, 0.5, 1.5)
    return {depth: network.eval() for depth, network in networks.items()}


@pytest.fixture
def cache(tmp_path: Path, theirs: dict[int, ResNet], monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's cache with a file for each depth, as a machine without network may have it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for depth, weights in ((18, ResNet18_Weights.IMAGENET1K_V1), (50, ResNet50_Weights.IMAGENET1K_V1)):
        torch.save(theirs[depth].state_dict(), folder / Path(weights.url).name)
    return folder


def memory_trunk() -> trunks.ResNet:
    return trunks.ResNet(50, 1.0, 5, conv_bias=True)


def s2m_trunk(depth: trunks.Depth) -> trunks.ResNet:
    return trunks.ResNet(depth, 1.0, 6, ("layer1", "layer2", "layer3", "layer4"), dilate_last=True)


TRUNKS = [
    ("propagation", lambda: trunks.ResNet(50, 1.0, 3, ("res2", "layer2", "layer3")), 50),
    ("propagation, memory", memory_trunk, 50),
    ("small propagation, memory", lambda: trunks.ResNet(18, 1.0, 5, conv_bias=True), 18),
    ("stcn, values", lambda: ValueEncoder(1.0, 1024, 512), 18),
    ("s2m", lambda: s2m_trunk(50), 50),
    ("small s2m", lambda: s2m_trunk(18), 18),
]


@pytest.mark.parametrize(("build", "depth"), [each[1:] for each in TRUNKS], ids=[each[0] for each in TRUNKS])
def test_a_trunk_sees_what_torchvisions_network_sees(build, depth, theirs, cache) -> None:
    trunk = build().eval()
    load_imagenet(trunk)
    nodes = [f"layer{n}" for n in range(1, len(trunk.stage_names) + 1)]
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    further = torch.zeros(1, trunk.conv1.in_channels - 3, 64, 96)
    with torch.inference_mode():
        expected = create_feature_extractor(theirs[depth], nodes)(image)
        found = trunk(torch.cat([image, further], dim=1))
    for stage, (name, features) in enumerate(expected.items()):
        if found[stage].shape == features.shape:  # S2M's last stage is dilated instead of reduced
            torch.testing.assert_close(found[stage], features, rtol=1e-4, atol=1e-4, msg=name)
    assert stage >= 2


def mobilenet() -> MobileNetV2Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = mobilenet_v2()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def as_before_nesting(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of torchvision 0.2, by the order of a block's layers: convolution, norm and activation numbered on."""
    renamed, numbers = {}, {}
    for key, value in state.items():
        block, _, rest = key.partition(".conv.")
        if rest and key.startswith("features."):
            *place, name = rest.split(".")
            layers = numbers.setdefault(block, {})
            if tuple(place) not in layers:
                layers[tuple(place)] = len(layers) + len(layers) // 2
            key = f"{block}.conv.{layers[tuple(place)]}.{name}"
        renamed[key] = value
    return renamed


@pytest.mark.parametrize("old", [False, True])
def test_mobilenet_sees_what_torchvisions_sees(old: bool, tmp_path: Path) -> None:
    theirs = mobilenet()
    state = theirs.state_dict()
    torch.save(as_before_nesting(state) if old else state, tmp_path / "mobilenet.pth")
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        nodes = {f"features.{number}": str(number) for number in (3, 6, 13)}
        expected = create_feature_extractor(theirs, nodes)(image)
        for trunk in (MobileNetV2(), MobileNetV2(6, deep=True)):
            load_imagenet(trunk, tmp_path / "mobilenet.pth")
            further = torch.zeros(1, trunk.features[0][0].in_channels - 3, 64, 96)
            found = trunk.eval()(torch.cat([image, further], dim=1))
            for features, wanted in zip(found, expected.values(), strict=False):
                torch.testing.assert_close(features, wanted, rtol=1e-4, atol=1e-4)


def test_mobilenet_takes_no_other_weights(theirs: dict[int, ResNet], tmp_path: Path) -> None:
    torch.save(theirs[18].state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(InputError, match="is not a torchvision MobileNetV2; missing keys"):
        load_imagenet(MobileNetV2(), tmp_path / "resnet.pth")


def test_channels_of_masks_start_orthogonal_and_by_torchs_generator(cache: Path) -> None:
    firsts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        trunk = memory_trunk()
        load_imagenet(trunk)
        firsts.append(trunk.conv1.weight[:, 3:].detach().flatten(1))
    torch.testing.assert_close(firsts[0] @ firsts[0].T, torch.eye(64), rtol=0, atol=1e-5)
    assert torch.equal(firsts[0], firsts[1]) and not torch.equal(firsts[0], firsts[2])


@pytest.mark.parametrize("counters", [True, False])
def test_a_file_an_enum_and_its_name_are_the_same(counters, theirs, cache, tmp_path) -> None:
    state = theirs[50].state_dict()
    kept = {key: value for key, value in state.items() if counters or not key.endswith("num_batches_tracked")}
    torch.save(kept, tmp_path / "own.pth")
    found: list[dict[str, Tensor]] = []
    for weights in (tmp_path / "own.pth", str(tmp_path / "own.pth"), ResNet50_Weights.IMAGENET1K_V1, "IMAGENET1K_V1"):
        trunk = s2m_trunk(50)
        load_imagenet(trunk, weights)
        found.append({key: value for key, value in trunk.state_dict().items() if key != "conv1.weight"})
    assert all(torch.equal(each[key], found[0][key]) for each in found for key in found[0])


def refused(trunk, *weights) -> str:
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_imagenet(trunk, *weights)
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())
    return str(error.value)


def test_without_network_one_sentence_says_where_the_file_belongs(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    trunk = memory_trunk()
    for trouble in (URLError("Name or service not known"), TimeoutError("timed out"), ConnectionResetError("reset")):

        def fail(*_, trouble=trouble, **__):
            raise trouble

        monkeypatch.setattr("torch.hub.urlopen", fail)
        said = refused(trunk)
        assert said.startswith("cannot load https://download.pytorch.org/models/resnet50-0676ba61.pth: ")
        assert f"{tmp_path}/hub/checkpoints" in said and "\n" not in said
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_what_does_not_fit_is_named(theirs, cache, tmp_path) -> None:
    trunk = memory_trunk()
    assert "width 1, not 0.125" in refused(trunks.ResNet(50, 0.125, 3))
    assert "one of torchvision's weights: IMAGENET1K_V1, IMAGENET1K_V2" in refused(trunk, "IMAGENET1K_V3")
    torch.save(theirs[18].state_dict(), tmp_path / "18.pth")
    assert "18.pth is not a torchvision ResNet-50; missing keys" in refused(trunk, tmp_path / "18.pth")
    assert "IMAGENET1K_V1 is not a torchvision ResNet-50" in refused(trunk, ResNet18_Weights.IMAGENET1K_V1)
    (tmp_path / "no.pth").write_bytes(b"no")
    assert "no.pth is damaged, or not a checkpoint" in refused(trunk, tmp_path / "no.pth")
    damaged = cache / "resnet50-0676ba61.pth"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    assert "cannot load https://" in refused(trunk)
