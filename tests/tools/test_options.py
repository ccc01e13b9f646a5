import pytest

from render.farm.events import KINDS
from tests.tools.help import leaf
from tools.options import RETRY, quarantine_class
from vosforge import InputError


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("out", None),
        ("out --retry-quarantined", "all"),
        ("--retry-quarantined all out", "all"),
        ("out --retry-quarantined --workers 2", "all"),
        ("out --retry-quarantined crash", "crash"),
        ("--retry-quarantined=refused out --workers 2", "refused"),
        ("out --retry-quarantined out-of-memory", "out of memory"),
    ],
)
def test_quarantined_videos_are_retried_all_or_of_one_class(words, wanted):
    command, _ = leaf(["render"])
    assert command.make_context("render", words.split()).params["retry_quarantined"] == wanted


@pytest.mark.parametrize("name", ["crsh", "killed", "", "runs/data"])
def test_an_unknown_class_is_refused_with_the_known_ones(name):
    command, _ = leaf(["render"])
    with pytest.raises(InputError, match=f"unknown class '{name}' .*; known: {', '.join(KINDS)}, all"):
        command.make_context("render", ["out", f"{RETRY}={name}"])


def test_the_help_names_each_class():
    command, _ = leaf(["render"])
    text = next(parameter.help for parameter in command.params if parameter.name == "retry_quarantined")
    named = text.partition("(")[2].partition(")")[0].split(", ")
    assert tuple(map(quarantine_class, named)) == KINDS
