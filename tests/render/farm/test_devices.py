"""Which Blender and which device: without either."""

from types import SimpleNamespace

import pytest

from render.farm.devices import DEVICES, Device, check_renderer, check_version, cycles_device
from vosforge import VOSForgeError


class Preferences:
    """Cycles' own, of a machine with these devices: it makes an entry of each when it is first asked for its kind."""

    def __init__(self, *there):
        self._there = there
        self.devices = []
        self.compute_device_type = "NONE"

    def get_devices_for_type(self, kind):
        for number, other in enumerate(self._there):
            if other in (kind, "CPU") and number not in [device.id for device in self.devices]:
                self.devices.append(SimpleNamespace(type=other, id=number, use=other != "CPU"))
        cards = [device for device in self.devices if device.type == kind]
        return cards + [device for device in self.devices if cards and device.type == "CPU"]


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("cpu", ("CPU", "CUDA", "OPTIX"), Device("CPU")),
        ("gpu", ("CPU", "CUDA", "CUDA", "OPTIX", "OPTIX"), Device("OPTIX", 2)),
        ("gpu", ("CPU", "CUDA"), Device("CUDA", 1)),
        ("gpu", ("CPU", "ONEAPI"), Device("ONEAPI", 1)),
        ("cuda", ("CPU", "CUDA", "OPTIX"), Device("CUDA", 1)),
        ("hip", ("HIP",), Device("HIP", 1)),
    ],
)
def test_the_cards_of_the_chosen_kind_are_used_and_nothing_else(wanted, there, chosen):
    preferences = Preferences(*there)
    assert cycles_device(wanted, preferences) == chosen
    if chosen.cards:
        assert preferences.compute_device_type == chosen.kind
        assert {device.type for device in preferences.devices if device.use} == {chosen.kind}


def test_cycles_is_not_asked_about_gpus_by_who_wants_none():
    preferences = Preferences("CPU", "CUDA")  # asking starts drivers, which may crash
    cycles_device("cpu", preferences)
    assert not preferences.devices


@pytest.mark.parametrize("wanted", sorted(set(DEVICES) - {"cpu"}))
def test_where_there_is_no_gpu_the_processor_is_the_remedy(wanted):
    with pytest.raises(VOSForgeError, match=r"Cycles finds no .* or render with --device cpu$"):
        cycles_device(wanted, Preferences("CPU"))


def test_another_kind_that_is_there_is_named():
    with pytest.raises(VOSForgeError, match=r"no device of the kind 'hip' on .* --device optix or cuda or cpu$"):
        cycles_device("hip", Preferences("CPU", "CUDA", "OPTIX"))


@pytest.mark.parametrize("version", [(4, 5, 0), (4, 5, 15), (5, 0, 1)])
def test_versions_that_pass_the_render_tests_are_taken(version):
    check_version(version)


@pytest.mark.parametrize("version", [(4, 2, 0), (4, 4, 3), (5, 1, 0), (6, 0, 0)])
def test_others_are_refused_with_the_remedy(version):
    with pytest.raises(VOSForgeError, match=r"^Blender \d\.\d\.\d is not supported, only 4\.5 and 5\.0 are: pip"):
        check_version(version)


def test_a_data_set_keeps_to_what_it_was_begun_with():
    for begun in (None, "Blender 5.0.1 Cycles CPU"):
        check_renderer(begun, "Blender 5.0.1 Cycles CPU")
    for other in ("Blender 4.5.15 Cycles CPU", "Blender 5.0.1 Cycles OPTIX"):
        with pytest.raises(VOSForgeError, match=rf"with Blender 5\.0\.1 Cycles CPU, and {other} .* --any-renderer$"):
            check_renderer("Blender 5.0.1 Cycles CPU", other)
