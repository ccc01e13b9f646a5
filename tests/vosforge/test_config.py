import pytest

from vosforge import InputError
from vosforge.config import Record, read_config


class Inner(Record):
    samples: int = 8
    name: str = "a"


class Outer(Record):
    seed: int = 0
    inner: Inner = Inner()


def test_a_file_changes_the_base_and_an_override_changes_the_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("seed: 3\ninner:\n  samples: 4\n")
    base = Outer(inner=Inner(name="base"))
    read = read_config(Outer, path, ["inner.samples=16"], base)
    assert read == Outer(seed=3, inner=Inner(samples=16, name="base"))


@pytest.mark.parametrize(
    ("text", "override", "says"),
    [
        ("sede: 3", None, "did you mean 'seed'"),
        ("inner: {smaples: 3}", None, "did you mean 'samples'"),
        ("seed: many", None, "'seed' cannot be 'many'"),
        ("[1, 2]", None, "must hold keys and values"),
        ("a: b: c", None, "not valid YAML"),
        ("", "seed", "key=value"),
        ("", "seed.deep=1", "holds a value, not a group"),
        ("inner: 4", None, "'inner' cannot be 4"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_it(tmp_path, text, override, says):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    overrides = [override] if override else []
    if override == "seed.deep=1":
        path.write_text("seed: 1")
    with pytest.raises(InputError, match=says) as caught:
        read_config(Outer, path, overrides)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.yaml"):
        read_config(Outer, tmp_path / "absent.yaml")


def test_records_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Outer().seed = 4
