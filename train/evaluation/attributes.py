"""Attributes of objects by which scores are broken down: classes of what each asks of a tracker."""

from vosforge.videos.amounts import CONDITIONS, ObjectAmounts, VideoAmounts

CLASSES: dict[str, tuple[str, ...]] = {
    "absence": ("always there", "returns", "stays away"),
    "size": ("under 0.1 %", "0.1–1 %", "1–10 %", "over 10 %"),
    "occlusion": ("under 10 %", "10–30 %", "30–60 %", "over 60 %"),
    "motion": ("under 4 px", "4–20 px", "20–60 px", "over 60 px"),
    "scale change": ("within 2", "over 2"),
    "camouflaged": ("no", "yes"),
    "contrast": ("under 15", "15–45", "over 45"),
    "look-alikes": ("0", "1–3", "4 or more"),
    "deforming": ("no", "yes"),
    "blur": ("under 5 px", "over 5 px"),
    **dict.fromkeys(CONDITIONS, ("no", "yes")),
}
"""The values of each attribute, in order. ``vosforge.videos.amounts`` has what they classify; size is the mean share of
the image; motion and blur are in pixels at 480 rows."""
LIMITS = {
    "size": (0.001, 0.01, 0.1),
    "occlusion": (0.1, 0.3, 0.6),
    "motion": (4.0, 20.0, 60.0),
    "contrast": (15.0, 45.0),
    "look-alikes": (1, 4),
    "blur": (5.0,),
}
"""Where the next class begins."""


def object_classes(video: VideoAmounts) -> list[dict[str, str]]:
    """The classes of each object by attribute; what is not known is left out; a never seen one has none."""
    of_scene = {name: name in video.conditions for name in CONDITIONS} if video.conditions is not None else {}
    return [_classes(item, of_scene) if item.first is not None else {} for item in video.objects]


def _classes(item: ObjectAmounts, of_scene: dict[str, bool]) -> dict[str, str]:
    numbers = {
        "size": item.area,
        "occlusion": item.occlusion,
        "motion": item.motion,
        "contrast": item.contrast,
        "look-alikes": item.lookalikes,
        "blur": item.blur,
    }
    places: dict[str, int | None] = {
        name: None if value is None else sum(value >= limit for limit in LIMITS[name])
        for name, value in numbers.items()
    }
    places["absence"] = 0 if not item.absent else 1 if item.gaps else 2
    places |= {"scale change": item.varies, "camouflaged": item.camouflaged, "deforming": item.deforming, **of_scene}
    return {name: classes[place] for name, classes in CLASSES.items() if (place := places.get(name)) is not None}
