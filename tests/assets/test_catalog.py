import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.catalog import Asset, Catalog
from vosforge.errors import InputError, VOSForgeError


def asset(content, kind="mesh", textures=()):
    return Asset(
        hash=content, kind=kind, name=f"the {content}", category="thing", source=f"test/{content}", licence="CC0-1.0",
        creator="someone", textures=tuple(textures),
    )  # fmt: skip


IMAGES = [f"i{number}" for number in range(8)]


@st.composite
def catalogs(draw):
    meshes = draw(st.lists(st.sets(st.sampled_from(IMAGES), max_size=3), max_size=25))
    textures = draw(st.sets(st.sampled_from(IMAGES)))
    hdris = draw(st.integers(0, 6))
    assets = [asset(f"m{number}", textures=sorted(images)) for number, images in enumerate(meshes)]
    assets += [asset(image, "texture") for image in sorted(textures)]
    assets += [asset(f"h{number}", "hdri") for number in range(hdris)]
    return Catalog(assets=tuple(draw(st.permutations(assets))))


def images_of(catalog):
    return {image for each in catalog.assets for image in (each.hash, *each.textures)}


def groups_of_kind(catalog, kind):
    """How many sets of assets tied by images hold this kind: the slow, obvious way."""
    groups = [({each.hash, *each.textures}, {each.kind}) for each in catalog.assets]
    merged = True
    while merged:
        merged = False
        for a in range(len(groups)):
            for b in range(a + 1, len(groups)):
                if groups[a][0] & groups[b][0]:
                    joined = (groups[a][0] | groups[b][0], groups[a][1] | groups[b][1])
                    groups = [group for at, group in enumerate(groups) if at not in (a, b)] + [joined]
                    merged = True
                    break
            if merged:
                break
    return sum(kind in kinds for _, kinds in groups)


@settings(max_examples=150, deadline=None)
@given(catalogs(), st.floats(0.01, 0.99), st.integers(0, 5))
def test_the_sides_of_a_split_share_nothing(catalog, held_out, seed):
    sides = catalog.split(held_out, seed)
    train, val = sides["train"], sides["val"]
    assert not images_of(train) & images_of(val)
    assert sorted(each.hash for side in sides.values() for each in side.assets) == sorted(
        each.hash for each in catalog.assets
    )
    for kind in ("mesh", "texture", "hdri"):
        groups = groups_of_kind(catalog, kind)
        if groups >= 2:
            assert train.of_kind(kind) and val.of_kind(kind), kind
        elif groups == 1:
            assert train.of_kind(kind) and not val.of_kind(kind), kind
    assert catalog.split(held_out, seed) == sides
    shuffled = Catalog(assets=catalog.assets[::-1]).split(held_out, seed)
    assert {each.hash for each in shuffled["val"].assets} == {each.hash for each in val.assets}


def test_the_split_follows_the_share_and_the_seed():
    catalog = Catalog(assets=tuple(asset(f"m{number}") for number in range(200)))
    first, second = catalog.split(0.25, 0)["val"], catalog.split(0.25, 1)["val"]
    assert len(first) == len(second) == 50 and first != second
    for share in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            catalog.split(share, 0)


def test_a_big_group_stays_in_train():
    tied = [asset(f"t{number}", textures=["wood"]) for number in range(60)]
    free = [asset(f"f{number}") for number in range(40)]
    sides = Catalog(assets=(*tied, *free)).split(0.2, 0)
    assert len(sides["val"]) == 20 and not any(each.textures for each in sides["val"].assets)


def test_save_and_load(tmp_path):
    catalog = Catalog.of([asset("größe", textures=["a", "b"]), asset("x", "hdri"), asset("a", "texture")])
    catalog.save(tmp_path / "sub" / "catalog.jsonl")
    assert Catalog.load(tmp_path / "sub" / "catalog.jsonl") == catalog
    assert catalog.by_hash("x").kind == "hdri"
    with pytest.raises(VOSForgeError, match="nothing"):
        catalog.by_hash("nothing")


@pytest.mark.parametrize(
    ("line", "reason"),
    [("{", "line 2"), ('{"hash": "a"}', "line 2.*missing"), ("", "line 2"), ("SAME", "more than once")],
)
def test_a_bad_catalog_is_named(tmp_path, line, reason):
    path = tmp_path / "catalog.jsonl"
    Catalog.of([asset("a")]).save(path)
    good = path.read_text()
    path.write_text(good + (good if line == "SAME" else line + "\n"))
    with pytest.raises(InputError, match=reason) as caught:
        Catalog.load(path)
    assert str(path) in str(caught.value)
    with pytest.raises(InputError, match=r"none\.jsonl"):
        Catalog.load(tmp_path / "none.jsonl")


def test_sum_lists_equal_content_once():
    both = Catalog.of([asset("a"), asset("b")]) + Catalog.of([asset("b", "texture"), asset("c")])
    assert [(each.hash, each.kind) for each in both.assets] == [("a", "mesh"), ("b", "mesh"), ("c", "mesh")]


def test_joints_are_written_where_there_are_any_and_old_lines_stay_as_they_are(tmp_path):
    line = (
        '{"hash":"m","kind":"mesh","name":"the m","category":"thing","source":"test/m","licence":"CC0-1.0",'
        '"creator":"someone","textures":[]}\n'
    )
    path = tmp_path / "catalog.jsonl"
    path.write_text(line)
    catalog = Catalog.load(path)
    assert catalog == Catalog.of([asset("m")])
    catalog.save(path)
    assert path.read_text() == line
    jointed = Catalog.of([asset("m").model_copy(update={"joints": (-1, 0, 1)})])
    jointed.save(path)
    assert path.read_text() == line.replace("[]}", '[],"joints":[-1,0,1]}') and Catalog.load(path) == jointed
