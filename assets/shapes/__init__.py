"""Procedural shapes: many families, each a function of a generator, so that a seed is a shape."""

from collections.abc import Callable

import numpy as np

from assets.shapes import abstract, household, machines, nature
from assets.shapes.surfaces import Surface

FAMILIES: dict[str, Callable[[np.random.Generator], Surface]] = {
    family.__name__: family
    for family in (
        abstract.superquadric, abstract.ring, abstract.prism, abstract.gear, abstract.knot, abstract.coil,
        abstract.shell, abstract.rock, abstract.blob, abstract.cluster, abstract.totem, abstract.spindle,
        household.vessel, household.table, household.chair, household.shelf, household.lamp,
        nature.quadruped, nature.bird, nature.fish, nature.mushroom, nature.plant, nature.tree, nature.fruit,
        machines.vehicle, machines.aircraft, machines.robot,
    )
}  # fmt: skip
"""Every family by name. A family's surface is z up, of any size."""

__all__ = ["FAMILIES", "Surface"]
