"""The `scenes` commands: specs go out as JSON lines and come back, without Blender."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assets.catalog import Asset, Catalog
from blender_scenes.spec import SceneSpec
from tools.commands.scenes import draw_scenes, preset_config, read_scenes
from vosforge.errors import InputError


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    kinds = [("mesh", 14), ("texture", 9), ("hdri", 6)]
    assets = (
        Asset(
            hash=f"{number:030x}{place:02x}",
            kind=kind,  # type: ignore[arg-type]
            name=f"{kind} {number}",
            category="test",
            source=f"test/{kind}/{number}",
            licence="CC0-1.0",
            creator="test",
        )
        for place, (kind, count) in enumerate(kinds)
        for number in range(count)
    )
    Catalog.of(assets).save(tmp_path / "catalog.jsonl")
    return tmp_path / "catalog.jsonl"


def scenes(*words: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; sys.modules['bpy'] = sys.modules['ray'] = None; from tools.cli import main; "
        f"sys.argv[1:] = ['scenes', *{words!r}]; main()"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_specs_go_out_as_json_lines_and_are_described_without_blender_or_ray(catalog: Path, tmp_path: Path) -> None:
    words = ("sample", "--preset", "bl30k", "--count", "7", "--seed", "3", "--catalog", str(catalog))
    printed = scenes(*words)
    assert printed.returncode == 0, printed.stderr
    specs = [SceneSpec.model_validate_json(line) for line in printed.stdout.splitlines()]
    assert specs == list(draw_scenes(preset_config("bl30k", 7, 3), Catalog.load(catalog)))
    assert [spec.split for spec in specs] == ["train"] * 4 + ["val"] + ["train"] * 2
    assert all(spec.world is None and spec.backdrop for spec in specs)
    assert scenes(*words, "--out", str(tmp_path / "a.jsonl")).returncode == 0
    assert (tmp_path / "a.jsonl").read_text() == printed.stdout
    described = scenes("describe", str(tmp_path / "a.jsonl"))
    assert described.returncode == 0 and "obj_path_len" in described.stdout


def test_the_schema_is_json_and_knows_the_fields() -> None:
    schema = json.loads(scenes("schema").stdout)
    assert set(schema["properties"]) == set(SceneSpec.model_fields)


def test_bad_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"preset": "basic", "seeds": 1}\n')
    with pytest.raises(InputError, match=r"bad.jsonl, line 1: "):
        list(read_scenes(path))
    with pytest.raises(InputError, match="cannot read the scenes"):
        list(read_scenes(tmp_path / "none.jsonl"))
    done = scenes("sample", "--preset", "bl3k", "--count", "2", "--catalog", str(path))
    assert done.returncode == 2 and "unknown preset 'bl3k'" in done.stderr
