"""What the README, CONTRIBUTING and the pages of ``docs/`` tell a reader to type or to open is there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from tests.tools.help import leaf
from tools.cli import app

ROOT = Path(__file__).parents[1]
PATHS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"))
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PATHS}
MAKEFILE = (ROOT / "Makefile").read_text()
FIGURES = re.findall(r"^\| (?!what \|)(?!-)(.*) \| (.*) \| (.*) \|$", PAGES["docs/figures.md"], re.MULTILINE)


def typed(program: str, text: str) -> list[str]:
    """The commands of ``program`` in a page: indented lines, and whole cells of tables."""
    lines = re.findall(rf"^    ({program} .*?)(?:\s+#.*)?$", text, re.MULTILINE)
    return lines + re.findall(rf"\| `({program} [^`]*)` \|", text)


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_readme_is_short_and_shows_each_command() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150
    group = typer.main.get_command(app)
    shown = {line.split()[1] for line in typed("vosforge", PAGES["README.md"])}
    assert shown | {"demo"} == set(group.commands)  # type: ignore[attr-defined]  # make demo runs that one


@pytest.mark.parametrize("line", sorted({line for text in PAGES.values() for line in typed("vosforge", text)}))
def test_commands_of_the_pages_parse(line: str) -> None:
    command, words = leaf(shlex.split(line)[1:])
    command.make_context(command.name, words)  # raises for an unknown option or a value of the wrong type


@pytest.mark.parametrize("page", PAGES)
def test_the_makefile_has_what_the_pages_say(page: str) -> None:
    for line in typed("make", PAGES[page]):
        assert re.search(rf"^{line.split()[1]}:", MAKEFILE, re.MULTILINE), line
    if page == "README.md":
        assert {line.split()[1] for line in typed("make", PAGES[page])} >= {"demo", "test"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), target


@pytest.mark.parametrize(("what", "figure", "command"), FIGURES)
def test_each_figure_has_one_command(what: str, figure: str, command: str) -> None:
    assert what and figure
    assert re.fullmatch(r"`(make|vosforge|pytest|python) [^`]+`", command)
    for path in re.findall(r"tests/[\w/]+\.py", command):
        assert (ROOT / path).exists(), path


def test_files_that_contributors_are_sent_to_are_there() -> None:
    named = set(re.findall(r"`([\w/-]+(?:/|\.py|\.json|\.toml|\.md))`", PAGES["CONTRIBUTING.md"]))
    assert len(named) > 30
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "runs"))]
    there = {"/" + path.relative_to(ROOT).as_posix() for folder in folders for path in folder.rglob("*")}
    there |= {f"/{path.name}" for path in ROOT.iterdir()}
    made = {"after.json"}
    assert {name for name in named - made if not any(path.endswith(f"/{name.rstrip('/')}") for path in there)} == set()


def test_there_are_figures() -> None:
    assert len(FIGURES) > 40
