"""Recording what a module did."""

from typing import TypeVar

from blender_scenes.spec import Excuse, ObjectSpec, SceneSpec, Trait

Marked = TypeVar("Marked", ObjectSpec, SceneSpec)


def marked(what: Marked, module: str, excuses: tuple[Excuse, ...] = (), **amounts: bool | int | float | str) -> Marked:
    """The object or scene with one more trait: what ``module`` drew for it, and what this excuses."""
    trait = Trait(module=module, amounts=amounts, excuses=excuses)
    return what.model_copy(update={"traits": (*what.traits, trait)})


def amounts_of(what: ObjectSpec | SceneSpec, module: str) -> dict[str, bool | int | float | str] | None:
    """What ``module`` drew for an object or a scene; None if it did nothing to it."""
    return next((trait.amounts for trait in what.traits if trait.module == module), None)
