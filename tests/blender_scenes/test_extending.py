"""docs/extending.md, word for word: its module and its pack work in a copy of the checkout, put where the page says."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from assets.catalog import Catalog
from vosforge.videos import ShardSet

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
PARTS = dict(zip(("how", "module", "pack"), re.split(r"^## .*$", PAGE, flags=re.MULTILINE), strict=True))
OBJ = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 2) for z in (0, 3))
OBJ += "".join(f"f {side}\n" for side in ("1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"))
KINDS = ("red", "grey")


def pieces(part: str) -> list[tuple[str, str, str]]:
    """The code of a part of the page: each piece with its file and the place in it, "" for all of the file."""
    heads = r"^# ([\w/]+\.(?:py|yaml))(?:: (.*))?\n"
    found = []
    for block in re.findall(r"```(?:python|yaml)\n(.*?)```", PARTS[part], re.DOTALL):
        before, *rest = re.split(heads, block, flags=re.MULTILINE)
        assert before == "", "each block says which file it belongs to"
        found += list(zip(rest[::3], (place or "" for place in rest[1::3]), rest[2::3], strict=True))
    return found


def commands(part: str, program: str = "vosforge") -> list[str]:
    return re.findall(rf"^    {re.escape(program)} (.*)$", PARTS[part], re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout: what the page changes is copied, all else leads to the original."""
    for path in ROOT.iterdir():
        if path.name in ("assets", "blender_scenes", "tests"):
            shutil.copytree(path, tmp_path / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif not path.name.startswith(".") and path.name != "runs":
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def put(checkout: Path, part: str, **changed: str) -> None:
    """Do what a part of the page says. ``changed``: what stands for values that are made up on the page."""
    for name, place, text in pieces(part):
        path = checkout / name
        text = re.sub(r'^(\w+) = ".*"$', lambda match: f'{match[1]} = "{changed[match[1]]}"', text, flags=re.MULTILINE)
        if not place:
            assert not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            continue
        lines = path.read_text().splitlines(keepends=True)
        starts = {
            "with the other imports": "import " if text.startswith("import ") else "from ",
            "in Modules, before physics": "    physics: ",
            "in DIVERSE, before physics": "    physics=",
        }
        if place == "below PACKS":
            assert sum(line.startswith("PACKS") for line in lines) == 1
            path.write_text("".join([*lines, "\n", text]))
            continue
        at = next(number for number, line in enumerate(lines) if line.startswith(starts[place]))
        path.write_text("".join([*lines[:at], text.rstrip("\n") + "\n", *lines[at:]]))


def run(checkout: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "VOSFORGE_CACHE": str(checkout / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=checkout, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
    return done.stdout + done.stderr


def brick(folder: Path, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"brick{number}.obj").write_text(OBJ.replace("v 1 2 3", f"v 1.{number} 2 3"))


@pytest.mark.parametrize("part", ["module", "pack"])
def test_either_is_less_than_sixty_lines(part: str) -> None:
    code = [text for name, _, text in pieces(part) if not name.startswith("tests/")]
    assert 10 < sum(len(text.strip().splitlines()) for text in code) < 60
    assert max(len(line) for text in code for line in text.splitlines()) <= 120


def test_the_module_of_the_page_draws_and_keeps_the_contract(checkout: Path, paper_catalog: Catalog) -> None:
    put(checkout, "module")
    [tests] = commands("module", ".venv/bin/pytest")
    assert tests == "tests/blender_scenes/modules", "the whole folder passes, but takes a minute: two of its files here"
    words = ["-q", "-p", "no:cacheprovider", "-k", "hop or stored or extends"]
    assert " passed" in run(checkout, "pytest", *words, f"{tests}/test_hops.py", f"{tests}/test_modules.py")
    paper_catalog.save(checkout / "catalog.jsonl")
    diverse, basic, *_ = commands("module")
    for words in (diverse, basic):
        run(checkout, "tools.cli", *shlex.split(words), "--catalog", "catalog.jsonl")
    hops = '"module":"hops"'
    scenes = (checkout / "scenes.jsonl").read_text().splitlines()
    high = (checkout / "high.jsonl").read_text().splitlines()
    assert sum(hops in scene for scene in scenes) > 5 and 0 < sum(hops in scene for scene in high) < 20


@pytest.mark.blender
def test_a_video_with_the_module_of_the_page_is_rendered(checkout: Path) -> None:
    put(checkout, "module")
    *_, render, view = commands("module")
    small = "--part 1/1 --videos 1 --num-meshes 4 --num-textures 4 --set render.frames=2 --set render.width=64"
    words = shlex.split(render.replace("--videos 4", small).replace("share=0.5", "share=1.0"))
    run(checkout, "tools.cli", *words, "--set", "render.height=48", "--set", "scene.gates=false")
    run(checkout, "tools.cli", *shlex.split(view))
    [video] = ShardSet(checkout / "runs" / "hops")
    assert video.row.id == "000000" and '"module":"hops"' in video.spec_json


def test_the_pack_of_the_page_is_installed_and_takes_only_what_it_knows(checkout: Path) -> None:
    archive = checkout / "bricks-1.0.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for kind in KINDS:
            file.writestr(f"bricks-1.0/{kind}/brick.obj", OBJ)
        for name in ("bricks-1.0/../../evil.obj", "bricks-1.0/red/setup.py", "evil.obj"):
            file.writestr(name, OBJ)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    put(checkout, "pack", BRICKS=archive.as_uri(), BRICKS_SHA256=digest)
    install = commands("pack")[2]
    assert "2 models (CC0-1.0)" in " ".join(run(checkout, "tools.cli", *install.split()).split())
    root = checkout / "cache" / "packs" / "bricks"
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert found == ["credits.yaml", "grey/brick.obj", "red/brick.obj"]
    archive.write_bytes(archive.read_bytes() + b"\0")
    shutil.rmtree(root)
    with pytest.raises(AssertionError, match="not the file it was"):
        run(checkout, "tools.cli", *install.split())


@pytest.mark.blender
def test_a_folder_of_models_is_a_pack(checkout: Path) -> None:
    from assets.surroundings import bundled_hdris

    [(name, _, text)] = [piece for piece in pieces("pack") if piece[0].endswith(".yaml")]
    for number in range(4):
        brick(checkout / "path/to/bricks" / KINDS[number % 2], number)
    (checkout / name).write_text(text)
    (checkout / "path/to/images").mkdir()
    (checkout / "path/to/hdris").mkdir()
    for number, path in enumerate((ROOT / "docs").glob("*.jpg")):
        shutil.copy(path, checkout / "path/to/images" / f"{number}.jpg")
    for path in bundled_hdris()[:2]:
        shutil.copy(path, checkout / "path/to/hdris")
    check, render = commands("pack")[:2]
    assert "4 usable assets" in run(checkout, "tools.cli", *check.split())
    small = "--part 1/1 --videos 1 --quality labels --set render.frames=2 --set render.width=64 --set scene.gates=false"
    run(checkout, "tools.cli", *render.split(), *small.split(), "--set", "held_out_every=0")
    [video] = ShardSet(checkout / "runs" / "bricks")
    meshes = [asset for asset in video.attributes["credits"] if asset["kind"] == "mesh"]
    assert {(asset["licence"], asset["creator"]) for asset in meshes} == {("CC0-1.0", "B. Mason")}
    assert {asset["category"] for asset in meshes} <= set(KINDS)
