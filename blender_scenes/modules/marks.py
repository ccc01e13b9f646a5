"""Going over a scene's objects with a random stream each, and recording what a module did."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from blender_scenes.object_spec import Excuse, ObjectSpec, Trait
from blender_scenes.spec import SceneSpec

Marked = TypeVar("Marked", ObjectSpec, SceneSpec)


def marked(what: Marked, module: str, excuses: tuple[Excuse, ...] = (), **amounts: bool | int | float | str) -> Marked:
    """The object or scene with one more trait: what ``module`` drew for it, and what this excuses."""
    trait = Trait(module=module, amounts=amounts, excuses=excuses)
    return what.model_copy(update={"traits": (*what.traits, trait)})


def amounts_of(what: ObjectSpec | SceneSpec, module: str) -> dict[str, bool | int | float | str] | None:
    """What ``module`` drew for an object or a scene; None if it did nothing to it."""
    return next((trait.amounts for trait in what.traits if trait.module == module), None)


def each_changed(
    scene: SceneSpec,
    rng: np.random.Generator,
    change: Callable[[ObjectSpec, np.random.Generator], ObjectSpec],
    distractors: bool = True,
) -> SceneSpec:
    """The scene with each object, and each distractor, changed by a stream that depends on its place only."""
    items = (*scene.objects, *(scene.distractors if distractors else ()))
    made = tuple(change(item, own) for item, own in zip(items, rng.spawn(len(items)), strict=True))
    K = len(scene.objects)
    update = {"objects": made[:K], "distractors": made[K:]} if distractors else {"objects": made}
    return scene.model_copy(update=update)
