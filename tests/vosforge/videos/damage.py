"""Ways to damage a shard, for the tests of what finds it."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from vosforge.videos.codec import encode
from vosforge.videos.format import attributes_checksum, checksum
from vosforge.videos.texts import read_text, write_text

Damage = Callable[[h5py.Group], None]


def reseal(group: h5py.Group, *names: str) -> None:
    """Give the data sets ``names`` and the group's attributes checksums that fit again."""
    for name in names:
        write_text(group[name].attrs, "checksum", checksum(group[name][()]))
    write_text(group.attrs, "checksum", attributes_checksum(group.attrs))


def flipped(name: str) -> Damage:
    def damage(group: h5py.Group) -> None:
        values = group[name][()]
        values.reshape(-1).view(np.uint8)[values.nbytes // 2] ^= 1
        group[name][...] = values

    return damage


def without(name: str) -> Damage:
    def damage(group: h5py.Group) -> None:
        del group[name]

    return damage


def row_says(old: str, new: str) -> Damage:
    def damage(group: h5py.Group) -> None:
        row = read_text(group.attrs, "row")
        assert old in row
        write_text(group.attrs, "row", row.replace(old, new))
        reseal(group)

    return damage


def attribute(name: str, value: str, sealed: bool = True) -> Damage:
    def damage(group: h5py.Group) -> None:
        write_text(group.attrs, name, value)
        if sealed:
            reseal(group)

    return damage


def spec_missing(group: h5py.Group) -> None:
    del group.attrs["spec"]
    reseal(group)


def mask_value(value: int) -> Damage:
    """One pixel says ``value``, and every table agrees."""

    def damage(group: h5py.Group) -> None:
        masks = group["mask"][()]
        place = tuple(np.argwhere(masks[1] == 0)[0])
        masks[(1, *place)] = value
        group["mask"][...] = masks
        reseal(group, "mask")

    return damage


def undecodable_frame(group: h5py.Group) -> None:
    data, offsets = group["rgb/data"][()], group["rgb/offsets"][()]
    data[offsets[2] : offsets[3]] = 7
    group["rgb/data"][...] = data
    reseal(group, "rgb/data")


def frame_of_another_size(group: h5py.Group) -> None:
    data, offsets = group["rgb/data"][()].tobytes(), group["rgb/offsets"][()]
    other = encode(np.full((8, 16, 3), 127, np.uint8), "jpeg", 10)
    size = int(offsets[2] - offsets[1])
    assert len(other) <= size
    padded = other[:-2] + bytes(size - len(other)) + other[-2:]
    replaced = data[: offsets[1]] + padded + data[offsets[2] :]
    group["rgb/data"][...] = np.frombuffer(replaced, np.uint8)
    reseal(group, "rgb/data")


def area_off_by_one(group: h5py.Group) -> None:
    area = group["objects/visible_area"][()]
    area[1] += [1, -1]
    group["objects/visible_area"][...] = area
    reseal(group, "objects/visible_area")


def box_too_large(group: h5py.Group) -> None:
    box = group["objects/box"][()]
    box[2, 1] = 0, 0, 32, 24
    group["objects/box"][...] = box
    reseal(group, "objects/box")


def box_without_object(group: h5py.Group) -> None:
    box = group["objects/box"][()]
    box[0, 0] = np.nan
    group["objects/box"][...] = box
    reseal(group, "objects/box")


def no_numbers(group: h5py.Group) -> None:
    group["camera/intrinsics"][0, 0, 0] = np.nan
    reseal(group, "camera/intrinsics")


TABLES: dict[str, tuple[Damage, str]] = {
    "a table's byte": (flipped("objects/pose"), "'objects/pose' is damaged"),
    "no category": (without("objects/category"), "'objects/category' is missing"),
    "no camera": (without("camera"), "'camera/intrinsics' is missing"),
    "no frames": (without("rgb"), "it is damaged"),
    "no masks": (without("mask"), "it is damaged"),
    "a box without its object": (box_without_object, "disagree on when an object is visible"),
    "no numbers": (no_numbers, "holds NaN or infinite values"),
    "attributes": (attribute("attributes", "{}", sealed=False), "the record is damaged"),
    "attributes that are no JSON": (attribute("attributes", "{"), "metadata cannot be read"),
    "attributes that are a list": (attribute("attributes", "[]"), "not a JSON object"),
    "no spec": (spec_missing, "its spec is missing"),
    "bytes": (row_says('"bytes":', '"bytes":1'), "its row says bytes"),
    "attempt": (row_says('"attempt":', '"attempt":1'), "its row says attempt"),
    "least coverage": (row_says('"least_coverage":0', '"least_coverage":1'), "its row says least_coverage"),
    "darkest": (row_says('"darkest":', '"darkest":9'), "its row says darkest"),
    "frames": (row_says('"num_frames":', '"num_frames":1'), "it is damaged"),
    "objects": (row_says('"num_objects":', '"num_objects":1'), "'objects/visible_area' is"),
    "very many objects": (row_says('"num_objects":', '"num_objects":99999999'), "its row cannot be read"),
    "a row that is no row": (attribute("row", "{}"), "its row cannot be read"),
    "another id": (row_says('"id":"0', '"id":"9'), "calls itself"),
}
"""What is found without decoding anything, and how it is told."""

PIXELS: dict[str, tuple[Damage, str]] = {
    "a frame's byte": (flipped("rgb/data"), "'rgb/data' is damaged"),
    "a mask's byte": (flipped("mask"), "'mask' is damaged"),
    "an undecodable frame": (undecodable_frame, "frame 2 cannot be read (it is damaged or not an image)"),
    "a frame of another size": (frame_of_another_size, "frame 1 cannot be read (it is 16x8, not 40x24)"),
    "an undeclared object": (mask_value(77), "the mask of frame 1 holds 77"),
    "void where there is none": (mask_value(255), "the mask of frame 1 holds 255"),
    "a pixel too many": (mask_value(1), "'objects/visible_area' disagrees with the mask of frame 1"),
    "areas": (area_off_by_one, "'objects/visible_area' disagrees with the mask of frame 1"),
    "a box": (box_too_large, "'objects/box' disagrees with the mask of frame 2"),
    "darkest": (row_says('"darkest":', '"darkest":1'), "its row says darkest"),
}
"""What only looking at every pixel finds."""


def pass_value(name: str, value: float) -> Damage:
    """One number of a pass's data set is ``value`` and its checksum fits."""

    def damage(group: h5py.Group) -> None:
        values = group[name][()]
        values[1].reshape(-1)[7 % values[1].size] = value
        group[name][...] = values
        reseal(group, name)

    return damage


def all_seen(group: h5py.Group) -> None:
    points, occluded = group["tracks/points"][()], group["tracks/occluded"][()]
    points[1], occluded[1] = -5, False
    group["tracks/points"][...], group["tracks/occluded"][...] = points, occluded
    reseal(group, "tracks/points", "tracks/occluded")


def nobody_there(group: h5py.Group) -> None:
    group["tracks/object"][2] = 9
    reseal(group, "tracks/object")


def flow_without_end(group: h5py.Group) -> None:
    group["flow_fwd"][3] = 0
    reseal(group, "flow_fwd")


def amodal_without_seen(group: h5py.Group) -> None:
    group["amodal"][1] = 0
    reseal(group, "amodal")


PASSES: dict[str, tuple[Damage, str]] = {
    "no flow": (without("flow_bwd"), "'flow_bwd' is missing"),
    "a pass of the future": (row_says('"passes":["depth"', '"passes":["taste"'), "an unknown pass"),
    "a table's byte": (flipped("tracks/points"), "'tracks/points' is damaged"),
    "a frame's byte": (flipped("depth"), "'depth' is damaged"),
    "a negative depth": (pass_value("depth", -1.0), "'depth' of frame 1 is inconsistent"),
    "a normal too long": (pass_value("normal", -128), "'normal' of frame 1 is inconsistent"),
    "flow where there is no frame": (flow_without_end, "'flow_fwd' of frame 3 is inconsistent"),
    "less than is seen": (amodal_without_seen, "'amodal' of frame 1 is inconsistent"),
    "a share": (pass_value("objects/visibility", 0.123), "'objects/visibility' of frame 1 is inconsistent"),
    "points seen outside": (all_seen, "'tracks/occluded' marks"),
    "nobody's point": (nobody_there, "'tracks/object' names"),
}
"""What is found in optional passes."""


def damage_video(path: Path, video: str, damage: Damage) -> None:
    """Damage one video of the shard at ``path``."""
    with h5py.File(path, "a") as file:
        damage(file[f"videos/{video}"])
