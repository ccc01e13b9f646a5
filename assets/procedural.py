"""Procedural assets: a seed becomes a catalog of shapes with materials and of images. Nothing is downloaded."""

import numpy as np

from assets.catalog import Asset, Catalog
from assets.interiors import FLOORS, WALLS
from assets.prepared import Material, PreparedMesh, Skeleton, prepare_mesh
from assets.shapes import FAMILIES as SHAPES
from assets.shapes import Surface
from assets.shapes.carved import carved
from assets.shapes.cloth import CLOTHS
from assets.shapes.compound import compound, landscape
from assets.shapes.jointed import JOINTED
from assets.store import AssetStore
from assets.textures import PATTERNS, SCENIC, encode_jpeg, family_image, hsv_to_rgb, palette
from vosforge.seeding import rng_for

LICENCE = "CC0-1.0"
CREATOR = "VOSForge"
ENDLESS = {family.__name__: family for family in (compound, landscape, carved)}
"""Families that no catalog has, only single scenes."""
MESH_IMAGE_SIZE = 256
TEXTURE_SIZE = 512
TEXTURES = PATTERNS | SCENIC | FLOORS | WALLS
"""What images of a catalog show, by family; what meshes wear are ``PATTERNS`` alone."""
FABRICS = ("stripes", "zigzag", "checks", "tartan", "dots", "patchwork", "ornament", "clouds", "camouflage")
"""The patterns of cloth."""
METALS = {
    "gold": (1.0, 0.77, 0.34),
    "copper": (0.95, 0.64, 0.54),
    "steel": (0.62, 0.62, 0.63),
    "iron": (0.4, 0.38, 0.36),
}


def procedural_catalog(store: AssetStore, num_meshes: int, num_textures: int, seed: int) -> Catalog:
    """A catalog of procedural meshes and images, whose content is put into ``store``.

    Asset i depends only on ``seed`` and i. Families take turns in random order, so that even few assets are
    varied. The images that meshes wear are their own: they tie no mesh to another and to no texture.
    """
    meshes = [_mesh_asset(store, seed, number) for number in range(num_meshes)]
    textures = [_texture_asset(store, seed, number) for number in range(num_textures)]
    return Catalog.of(meshes + textures)


def procedural_mesh(family: str, rng: np.random.Generator, store: AssetStore) -> PreparedMesh:
    """A random mesh of one family, its images put into ``store``.

    ``family``: a key of `assets.shapes.FAMILIES`, of `ENDLESS`, of `assets.shapes.cloth.CLOTHS` or, with a skeleton, of
    `assets.shapes.jointed.JOINTED`.
    """
    surface, skeleton = _shape(family, rng)
    return prepare_mesh(
        f"procedural/{family}",
        surface.vertices,
        surface.faces,
        surface.corner_uv,
        surface.smooth,
        surface.slot,
        [_fabric(rng, store)] if family == "cloth" else _materials(surface, rng, store),
        skeleton=skeleton,
    )


def _shape(family: str, rng: np.random.Generator) -> tuple[Surface, Skeleton | None]:
    if family not in JOINTED:
        return (SHAPES | ENDLESS | CLOTHS)[family](rng), None
    shape = JOINTED[family](rng)
    return shape.surface, shape.skeleton


def made_mesh(family: str, seed: int, store: AssetStore) -> PreparedMesh:
    """The mesh ``seed`` of a family that is made for a single scene, its images put into ``store``."""
    return procedural_mesh(family, rng_for("made", family, seed), store)


def made_asset(family: str, seed: int, content: str) -> Asset:
    """The catalog's entry of such a mesh, for credits; no catalog lists it."""
    return Asset(
        hash=content,
        kind="mesh",
        name=f"{family} {seed}",
        category=family,
        source=f"procedural/{family}/made-{seed}",
        licence=LICENCE,
        creator=CREATOR,
    )


def random_material(rng: np.random.Generator, color: tuple[float, float, float], texture: str | None) -> Material:
    """A matt, satin, glossy or metal material of this linear colour, or of an image (by its content hash)."""
    kind = rng.choice(["matt", "satin", "glossy", "metal"], p=[0.35, 0.25, 0.25, 0.15])
    metallic, roughness = 0.0, rng.uniform(*{"matt": (0.7, 1.0), "satin": (0.35, 0.6)}.get(kind, (0.05, 0.25)))
    if kind == "metal":
        metallic, roughness = 1.0, rng.uniform(0.12, 0.5)
        red, green, blue = (0.35 + 0.65 * channel for channel in color)  # dark metals read as holes
        color = METALS[rng.choice(list(METALS))] if rng.random() < 0.6 else (red, green, blue)
    return Material(name=str(kind), base_color=color, metallic=metallic, roughness=float(roughness), texture=texture)


def _fabric(rng: np.random.Generator, store: AssetStore) -> Material:
    """A matt or satin material, most often with a pattern."""
    red, green, blue = (0.1 + 0.8 * float(channel) for channel in hsv_to_rgb(rng.uniform(0, 1, 3)))
    image = encode_jpeg(family_image(PATTERNS[str(rng.choice(FABRICS))], rng, MESH_IMAGE_SIZE))
    return Material(
        name="fabric",
        base_color=(round(red, 4), round(green, 4), round(blue, 4)),
        roughness=float(rng.uniform(0.5, 1.0)),
        texture=store.put_image(image, ".jpg") if rng.random() < 0.85 else None,
    )


def _materials(surface: Surface, rng: np.random.Generator, store: AssetStore) -> list[Material]:
    slots = int(surface.slot.max()) + 1
    tones = palette(rng, slots) if rng.random() < 0.7 else hsv_to_rgb(rng.uniform([0, 0.1, 0.1], 1, (slots, 3)))
    textured = rng.random(slots) < np.where(np.arange(slots) == 0, 0.5, 0.2)
    materials = []
    for tone, has_image in zip(tones, textured, strict=True):
        texture = None
        if has_image:
            pattern = str(rng.choice(list(PATTERNS)))
            texture = store.put_image(encode_jpeg(family_image(PATTERNS[pattern], rng, MESH_IMAGE_SIZE)), ".jpg")
        red, green, blue = (round((0.12 + 0.88 * float(channel)) ** 2.2, 4) for channel in np.clip(tone, 0, 1))
        materials.append(random_material(rng, (red, green, blue), texture))
    return materials


def _mesh_asset(store: AssetStore, seed: int, number: int) -> Asset:
    family = _turn(list(SHAPES), seed, "mesh", number)
    mesh = procedural_mesh(family, rng_for(seed, "procedural mesh", number), store)
    return Asset(
        hash=store.put_mesh(mesh),
        kind="mesh",
        name=f"{family} {number}",
        category=family,
        source=f"procedural/{family}/{seed}-{number}",
        licence=LICENCE,
        creator=CREATOR,
        textures=mesh.textures,
    )


def _texture_asset(store: AssetStore, seed: int, number: int) -> Asset:
    pattern = _turn(list(TEXTURES), seed, "texture", number)
    image = family_image(TEXTURES[pattern], rng_for(seed, "procedural texture", number), TEXTURE_SIZE)
    return Asset(
        hash=store.put_image(encode_jpeg(image), ".jpg"),
        kind="texture",
        name=f"{pattern} {number}",
        category=pattern,
        source=f"procedural/{pattern}/{seed}-{number}",
        licence=LICENCE,
        creator=CREATOR,
    )


def _turn(names: list[str], seed: int, kind: str, number: int) -> str:
    """The next family: each is used once, in random order, before any repeats."""
    lap, place = divmod(number, len(names))
    return names[rng_for(seed, "turns", kind, lap).permutation(len(names))[place]]
