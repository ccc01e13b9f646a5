"""Light: sun, bright panels, colours and night, besides the HDRIs and lamps of the base draw."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from assets.catalog import Catalog
from blender_scenes.modules.marks import marked
from blender_scenes.object_spec import Color, Vector
from blender_scenes.spec import PanelSpec, SceneSpec, SunSpec
from vosforge.config import Amount, Range, Record, Share

Kind = Literal["sun", "panels", "colored", "night"]
CENTRE = (0.0, 1.5, 0.0)
"""About where objects are; panels shine at it."""
WARM, WHITE, COOL = (1.0, 0.6, 0.3), (1.0, 0.95, 0.9), (0.7, 0.84, 1.0)
MOONLIGHT = (0.4, 0.6, 1.0)


class Light(Record):
    """Gives scenes another light; the rest keeps that of the base draw. Brightness is that of white paper."""

    sun: Annotated[Share, Field(description="share of scenes with a sun under a dimmed sky")] = 0.25
    panels: Annotated[Share, Field(description="share of scenes lit by large bright panels")] = 0.2
    colored: Annotated[Share, Field(description="share of scenes lit by panels of strong colours")] = 0.15
    night: Annotated[Share, Field(description="share of scenes at night; their frames may be black")] = 0.055
    sun_brightness: Annotated[Range[Amount], Field(description="brightness of what faces the sun")] = (0.6, 1.8)
    sun_height: Annotated[Range[float], Field(description="radians above the horizon")] = (0.15, 1.3)
    panel_brightness: Annotated[Range[Amount], Field(description="brightness of what faces all panels")] = (0.5, 1.4)
    panel_size: Annotated[Range[Amount], Field(description="a panel's side in metres")] = (0.5, 5.0)
    dimmed: Annotated[Range[Amount], Field(description="factor on the HDRI under a sun or panels")] = (0.15, 0.7)
    night_level: Annotated[Range[Amount], Field(description="factor on the HDRI and the backdrop at night")] = (
        0.03,
        0.12,
    )
    night_lamps: Annotated[Range[int], Field(description="number of lamps at night")] = (1, 3)
    lamp_brightness: Annotated[Range[Amount], Field(description="brightness of what faces one")] = (0.06, 0.35)

    @model_validator(mode="after")
    def _shares_fit(self) -> "Light":
        if self.sun + self.panels + self.colored + self.night > 1:
            raise ValueError("the shares of sun, panels, colored and night add up to more than 1")
        return self

    def draw(self, scene: SceneSpec, rng: np.random.Generator, assets: Catalog) -> SceneSpec:
        """The scene in its new light, or as it was."""
        kind = self._kind(rng)
        if kind is None:
            return scene
        if kind == "night":
            return self._night(scene, rng)
        level = float(rng.uniform(*self.dimmed))
        if kind == "sun":
            sun = self._sun(rng, behind=scene.backdrop is None)
            lit = _dimmed(scene, level, {"suns": (sun,)})
            return marked(lit, "light", kind=kind, dimmed=level, height=float(np.arcsin(sun.toward[2])))
        panels = self._panels(rng, kind)
        return marked(_dimmed(scene, level, {"panels": panels}), "light", kind=kind, dimmed=level, panels=len(panels))

    def _kind(self, rng: np.random.Generator) -> Kind | None:
        kinds: tuple[Kind, ...] = ("sun", "panels", "colored", "night")
        ends = np.cumsum([getattr(self, kind) for kind in kinds])
        place = int(np.searchsorted(ends, rng.random(), side="right"))
        return kinds[place] if place < len(kinds) else None

    def _sun(self, rng: np.random.Generator, behind: bool) -> SunSpec:
        """``behind``: whether it may stand behind the objects."""
        height, turn = rng.uniform(*self.sun_height), rng.uniform(0, 2 * np.pi)
        x, y = float(np.cos(turn) * np.cos(height)), float(np.sin(turn) * np.cos(height))
        toward = (x, y if behind else -abs(y), float(np.sin(height)))
        strength = np.pi * rng.uniform(*self.sun_brightness)
        color = _mixed(WARM, WHITE, min(height / 0.6, 1.0))
        return SunSpec(toward=toward, strength=strength, color=color, angle=float(10 ** rng.uniform(-2.3, -0.7)))

    def _panels(self, rng: np.random.Generator, kind: Kind) -> tuple[PanelSpec, ...]:
        count = int(rng.integers(1, 4)) if kind == "panels" else int(rng.integers(2, 4))
        weights = rng.dirichlet(np.full(count, 3.0)) * rng.uniform(*self.panel_brightness)
        hue = rng.random()
        panels = []
        for number, brightness in enumerate(weights):
            if kind == "colored":
                color = _saturated(hue + number * rng.uniform(0.25, 0.5), float(rng.uniform(0.55, 0.95)))
            else:
                color = _mixed(_mixed(WARM, WHITE, 0.5), COOL, float(rng.random()))
            size, distance = float(rng.uniform(*self.panel_size)), float(rng.uniform(5.0, 9.0))
            panels.append(_panel(_before(rng), distance, size, float(brightness), color))
        return tuple(panels)

    def _night(self, scene: SceneSpec, rng: np.random.Generator) -> SceneSpec:
        level = float(np.exp(rng.uniform(*np.log(np.maximum(self.night_level, 1e-6)))))
        count = int(rng.integers(self.night_lamps[0], self.night_lamps[1] + 1))
        lamps = []
        for own in rng.spawn(count):
            color = _mixed(WARM, COOL, float(own.random()) ** 2)
            brightness, size = own.uniform(*self.lamp_brightness), own.uniform(0.1, 0.8)
            lamps.append(_panel(_before(own), float(own.uniform(4.0, 8.0)), float(size), float(brightness), color))
        dark = _dimmed(scene, level, {"panels": tuple(lamps)})
        if dark.world is not None:
            dark = dark.model_copy(update={"world": dark.world.model_copy(update={"tint": MOONLIGHT})})
        if dark.backdrop is not None:
            emission = dark.backdrop.emission * level
            dark = dark.model_copy(update={"backdrop": dark.backdrop.model_copy(update={"emission": emission})})
        return marked(dark, "light", ("black", "flat"), kind="night", level=level, lamps=count)


def _dimmed(scene: SceneSpec, level: float, lit_by: dict[str, object]) -> SceneSpec:
    """The scene without its lamps, its HDRI dimmed to ``level``, and other lamps instead."""
    world = scene.world
    if world is not None:
        world = world.model_copy(update={"strength": world.strength * level})
    return scene.model_copy(update={"lights": (), "world": world, **lit_by})


def _before(rng: np.random.Generator) -> np.ndarray:
    """A direction from the centre from which light comes: above it, and not from behind a backdrop."""
    direction = rng.normal(size=3)
    direction[1:] = -abs(direction[1]), abs(direction[2])
    return np.asarray(direction / np.linalg.norm(direction))


def _panel(direction: np.ndarray, distance: float, size: float, brightness: float, color: Color) -> PanelSpec:
    """A panel that gives white paper at the centre that faces it this brightness (Lambert's law, both ways)."""
    x, y, z = (np.array(CENTRE) + distance * direction).tolist()
    location: Vector = (x, y, z)
    energy = brightness * np.pi**2 * distance**2
    return PanelSpec(location=location, target=CENTRE, size=size, energy=float(energy), color=color)


def _mixed(one: Color, other: Color, share: float) -> Color:
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(one, other, strict=True))
    return (red, green, blue)


def _saturated(hue: float, saturation: float) -> Color:
    """A linear colour of hue 0 to 1 (beyond, it repeats) and full value."""
    wheel = np.abs((np.array([0.0, 2 / 3, 1 / 3]) + hue) % 1.0 * 6 - 3) - 1
    red, green, blue = (1 - saturation * (1 - np.clip(wheel, 0, 1))).tolist()
    return (red, green, blue)
