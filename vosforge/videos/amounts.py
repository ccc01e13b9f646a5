"""What each video asks of a tracker: measured when it is rendered, recorded in its attributes, read from there.

Videos without a record, older or imported ones, are measured when they are read. `vosforge.amounts` has the formulas.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from vosforge import amounts
from vosforge.config import Record
from vosforge.errors import VOSForgeError
from vosforge.videos.format import boxes, cuts_of, visible_area
from vosforge.videos.reader import ShardVideo

CONDITIONS = ("night", "fog", "drift")
"""Of a whole scene: darkness, haze, and exposure or white balance that drift."""
RECORD = "amounts"
"""The record's name among a video's attributes."""

Missing = Annotated[float | None, Field(exclude_if=lambda value: value is None)]
"""A number, or None where it is not known; records leave it out there."""


class ObjectAmounts(Record):
    """One labelled object, as `vosforge.amounts` measures it. None: not known."""

    seen: float
    """Share of the frames that show it."""
    first: Annotated[int | None, Field(exclude_if=lambda value: value is None)] = None
    """The frame that first shows it; None if none does."""
    gaps: tuple[int, ...] = ()
    """Frames of each absence that it returns from."""
    gone: int = 0
    """Frames of its last absence, which it does not return from."""
    area: Missing = None
    """Geometric mean share of the image, over the frames that show it."""
    occlusion: Missing = None
    """Mean hidden share of its amodal mask, over the frames that show it."""
    motion: Missing = None
    """Mean motion of its centroid within shots, pixels a frame at 480 rows."""
    scale: Missing = None
    """How many times its area changes at most from what it first was: by poses, else by masks."""
    contrast: Missing = None
    """Difference of its mean colour to the 15 pixels around it, 0 to 255: median over the frames."""
    blur: Missing = None
    """Mean blur length, pixels at 480 rows."""
    deformation: Missing = None
    """How far its shape is from the best rigid fit, 0 to 1; 0 for an object that keeps its shape."""
    lookalikes: Annotated[int | None, Field(exclude_if=lambda value: value is None)] = None
    """How many others of the same model and material frame 0 shows, labelled or not."""
    camouflaged: Annotated[bool | None, Field(exclude_if=lambda value: value is None)] = None
    """Whether it wears the texture of the backdrop, the ground or a wall."""
    deforming: Annotated[bool | None, Field(exclude_if=lambda value: value is None)] = None
    """Whether its recipe changes its shape: it deforms, is a cloth, or has joints or shape keys that move."""

    @property
    def absent(self) -> bool:
        """Whether it is away in a frame after the first that shows it."""
        return bool(self.gaps or self.gone)

    @property
    def varies(self) -> bool | None:
        """Whether its scale change is outside [0.5, 2]."""
        return None if self.scale is None else not 0.5 <= self.scale <= 2


class VideoAmounts(Record):
    """A video's objects, and what its recipe says of the whole."""

    objects: tuple[ObjectAmounts, ...]
    distractors: Annotated[int | None, Field(exclude_if=lambda value: value is None)] = None
    """How many the scene has; None without a recipe."""
    conditions: Annotated[tuple[str, ...] | None, Field(exclude_if=lambda value: value is None)] = None
    """Which of night, fog and exposure drift it has; None without a recipe."""

    @property
    def lookalikes(self) -> int | None:
        """Of the object in frame 0 that has most."""
        known = [item.lookalikes for item in self.objects if item.first == 0 and item.lookalikes is not None]
        return max(known) if known else None

    @property
    def blur(self) -> float | None:
        """Of the object that has most."""
        return max((item.blur for item in self.objects if item.blur is not None), default=None)


def measure_video(
    mask: np.ndarray,
    num_objects: int,
    *,
    recipe: str | None = None,
    shown: Collection[int] | None = None,
    pose: np.ndarray | None = None,
    focal: np.ndarray | None = None,
    visibility: np.ndarray | None = None,
    contrast: Sequence[np.ndarray] = (),
    deformation: Mapping[int, float] | None = None,
    in_time: bool = True,
) -> VideoAmounts:
    """Measure a video by its masks ``[T, H, W]`` uint8 and whatever else is known.

    recipe: its SceneSpec as JSON; shown: numbers of the objects and distractors in frame 0 (default: all distractors);
    pose: objects to camera axes ``[T, K, 4, 4]``; focal: focal lengths ``[T]``, if they change; visibility: ``[T, K]``;
    contrast: that of some frames, ``[K]`` each; deformation: misfits of the objects that may change their shape, by
    their places; in_time: whether no frame is left out between the masks.
    """
    K, (height, width) = num_objects, mask.shape[1:]
    area = visible_area(mask, K)
    seen = area > 0
    away = amounts.absences(seen)
    scene = json.loads(recipe) if recipe else None
    cuts = cuts_of(scene or {}, len(mask))
    speed = amounts.motion(amounts.centroids(mask, K), height, cuts) if in_time else np.full(K, np.nan)
    size = amounts.apparent_area(pose, focal) if pose is not None else None
    if size is None:
        size = amounts.whole_area(area, boxes(mask, K), visibility, (height, width))
    columns: dict[str, np.ndarray] = {
        "area": amounts.mean_share(area, height * width),
        "motion": speed,
        "scale": amounts.scale_change(np.where(seen, size, np.nan)),
    }
    if visibility is not None:
        columns["occlusion"] = amounts.occlusion(visibility, seen)
    if len(contrast):
        columns["contrast"] = _medians(np.stack(contrast))
    facts: Sequence[Mapping[str, Any]] = [{}] * K
    if scene:
        columns["blur"] = amounts.blur(speed, scene.get("camera", {}).get("shutter", 0.0))
        if shown is None:
            distractors = range(K + 1, K + 1 + len(scene.get("distractors", ())))
            shown = {*(np.flatnonzero(seen[0]) + 1).tolist(), *distractors}
        facts = facts_of_recipe(scene, K, shown, deformation or {})
    objects = []
    for k in range(K):
        numbers = {name: _short(column[k]) for name, column in columns.items() if np.isfinite(column[k])}
        told = {"seen": _short(seen[:, k].mean()), **away[k]._asdict(), **numbers, **facts[k]}
        objects.append(ObjectAmounts.model_validate(told))
    return VideoAmounts(
        objects=tuple(objects),
        distractors=len(scene.get("distractors", ())) if scene else None,
        conditions=conditions(scene) if scene else None,
    )


def recorded_amounts(video: ShardVideo) -> VideoAmounts | None:
    """What a video's record says; None if it has none. Raises VOSForgeError for a damaged one."""
    record = video.attributes.get(RECORD)
    if record is None:
        return None
    try:
        return VideoAmounts.model_validate(record)
    except ValidationError:
        raise VOSForgeError(f"the amounts of video {video.id} in {video.path} are damaged: render it again") from None


def amounts_of(video: ShardVideo) -> VideoAmounts:
    """The amounts of a shard's video, as recorded, else measured now. Raises VOSForgeError when it cannot be read."""
    if (recorded := recorded_amounts(video)) is not None:
        return recorded
    pose = focal = None
    if "objects/pose" in video.group and "camera/world_to_camera" in video.group:
        focal = video.group["camera/intrinsics"][()][:, 0, 0]
        pose = video.group["camera/world_to_camera"][()][:, None] @ video.group["objects/pose"][()]
    masks = video.masks()
    times = amounts.contrast_times(video.num_frames) if video.has_colors else []
    return measure_video(
        masks,
        video.num_objects,
        recipe=video.spec_json,
        pose=pose,
        focal=focal,
        visibility=video.visibility() if "amodal" in video.passes else None,
        contrast=[amounts.contrast(video.frame(t), masks[t], video.num_objects) for t in times],
    )


def conditions(scene: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of night, fog and exposure drift a SceneSpec, as JSON, has."""
    drawn = {trait["module"]: trait.get("amounts", {}) for trait in scene.get("traits", ())}
    night = drawn.get("light", {}).get("kind") == "night"
    there = night, scene.get("atmosphere") is not None, scene.get("drift") is not None
    return tuple(name for name, true in zip(CONDITIONS, there, strict=True) if true)


def same_things(scene: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """For each object and distractor of a SceneSpec, as JSON: the numbers, from 1 on, of the others like it.

    Look-alikes have the same mesh, material, texture and way of putting it on; their sizes may differ.
    """
    items = (*scene.get("objects", ()), *scene.get("distractors", ()))
    names = ("mesh", "made", "material", "texture", "wrap")
    looks = [json.dumps([item.get(name) for name in names]) for item in items]
    return [
        tuple(number for number, other in enumerate(looks, 1) if other == look and number != own)
        for own, look in enumerate(looks, 1)
    ]


def changes_shape(item: Mapping[str, Any]) -> bool:
    """Whether an ObjectSpec, as JSON, deforms, is a cloth or has joints or shape keys that move."""
    return any(item.get(name) for name in ("deformation", "cloth", "joints", "morphs"))


def facts_of_recipe(
    scene: Mapping[str, Any],
    K: int,
    shown: Collection[int],
    deformation: Mapping[int, float],
) -> list[dict[str, Any]]:
    """What a SceneSpec, as JSON, says of each of K objects, as fields of `ObjectAmounts`.

    shown: numbers of the objects and distractors in frame 0; deformation: misfits of what may change its shape.
    """
    planes = (scene.get("backdrop"), scene.get("ground"), *scene.get("walls", ()))
    behind = {plane["texture"] for plane in planes if plane}
    facts = []
    for k, (item, like) in enumerate(zip(scene.get("objects", ()), same_things(scene), strict=False)):
        bends = changes_shape(item)
        told = {
            "lookalikes": sum(number in shown for number in like),
            "camouflaged": item.get("texture") is not None and item["texture"] in behind,
            "deforming": bends,
        }
        misfit = deformation.get(k) if bends else 0.0
        facts.append(told if misfit is None else told | {"deformation": _short(misfit)})
    return facts if len(facts) == K else [{}] * K


def _medians(values: np.ndarray) -> np.ndarray:
    """Medians of the columns of ``values [N, K]`` without NaN, NaN of nothing."""
    return np.array([np.median(known) if len(known := column[np.isfinite(column)]) else np.nan for column in values.T])


def _short(value: float) -> float:
    """Four digits: as many as records keep."""
    return float(f"{value:.4g}")
