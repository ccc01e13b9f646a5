from pathlib import Path

import pytest

from vosforge import InputError
from vosforge.config import PathOfUser, Range, Record, parsed_settings, read_config


class Inner(Record):
    samples: int = 8
    name: str = "a"


class Outer(Record):
    seed: int = 0
    inner: Inner = Inner()
    counts: Range[int] = (1, 2)
    folder: PathOfUser = Path()


def test_a_file_changes_the_base_and_an_override_changes_the_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("seed: 3\ninner:\n  samples: 4\n")
    base = Outer(inner=Inner(name="base"))
    read = read_config(Outer, path, {"inner.samples": 16}, base)
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
        ("seed:\t3\n\tinner: 4", None, "not valid YAML"),
        ("seed: 2024-13-45", None, "not valid YAML"),
        ("counts: [5, 2]", None, r"'counts' cannot be \[5, 2\]: put the lower number first, as in \[2, 5\]"),
        ("counts: []", None, "'counts.0' is missing"),
        ("", "seed=[1,", r"cannot read the setting 'seed=\[1,': '\[1,' is not valid YAML"),
        ("", "seed=2024-13-45", "cannot read the setting"),
        ("", ".=3", "cannot read the setting '.=3'"),
        ("", "=3", "cannot read the setting '=3'"),
        ("", "inner..samples=3", "key=value"),
        ("seed: 1", "inner.samples=x", "^the command line: 'inner.samples' cannot be 'x'"),
        ("seed: x", "inner.samples=3", r"settings\.yaml: 'seed' cannot be 'x'"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_it(tmp_path, text, override, says):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    if override == "seed.deep=1":
        path.write_text("seed: 1")
    with pytest.raises(InputError, match=says) as caught:
        read_config(Outer, path, parsed_settings([override] if override else []))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.yaml"):
        read_config(Outer, tmp_path / "absent.yaml")


def test_records_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Outer().seed = 4


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_by_its_byte_order_mark(tmp_path, encoding):
    path = tmp_path / "settings.yaml"
    path.write_bytes("inner:\n  name: é\n".encode(encoding))
    assert read_config(Outer, path).inner.name == "é"


@pytest.mark.parametrize("data", ["name: é".encode("latin-1"), "seed: 3".encode("utf-16-le"), b"\x00\xff\x80"])
def test_a_file_in_another_encoding_is_refused_in_one_sentence(tmp_path, data):
    path = tmp_path / "settings.yaml"
    path.write_bytes(data)
    with pytest.raises(InputError, match="is not valid YAML") as caught:
        read_config(Outer, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_changes_nothing(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert read_config(Outer, path) == Outer()


def test_a_tilde_is_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert read_config(Outer, None, {"folder": "~/models"}).folder == Path("/home/ada/models")
    assert read_config(Outer, None, {"folder": "~nobody-here/models"}).folder == Path("~nobody-here/models")
