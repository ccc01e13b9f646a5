"""The `scenes` commands: specs go out as JSON lines and come back, without Blender."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from assets.catalog import Asset, Catalog
from blender_scenes.object_spec import Curve, CurveMotion, ObjectSpec
from blender_scenes.spec import CameraSpec, LookAtMotion, RenderSettings, SceneSpec
from tools.commands.scenes import description, draw_scenes, preset_config, read_scenes
from tools.inspect.drawn import drawn_amounts
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
    assert "needs labels" in described.stdout and "target" not in described.stdout


def test_scenes_of_diverse_are_described_beside_its_targets(catalog: Path) -> None:
    quantities, asked = description(draw_scenes(preset_config("diverse", 12, 1), Catalog.load(catalog)))
    assert quantities.row_count and [column.header for column in asked.columns][-2:] == ["target", "met"]
    cells = {title: row for title, *row in zip(*(column.cells for column in asked.columns), strict=True)}
    for title in ("objects absent in a frame after their first", "masks under 1 % of the image"):
        assert cells[title] == ["0", "– (needs labels)", cells[title][2], "–"]
    assert cells["camouflaged objects"][1].endswith("%")
    few, many = map(int, cells["distractors a scene"][1].split("–"))
    assert 0 <= few < many <= 20
    assert float(cells["motion, median, px a frame at 480 rows"][1]) > 0


def test_centres_are_measured_as_labels_would_be() -> None:
    """An object that moves by 0.1 metres a frame, 4 metres before a camera that stands still; one grows by four."""
    still = Curve(axes=((0.0,), (0.0,), (0.0,)))
    one = Curve(axes=((1.0,), (1.0,), (1.0,)))
    grown = Curve(axes=((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)))
    way = Curve(axes=((0.0, 0.3), (4.0,), (0.0,)))
    things = [
        ObjectSpec(mesh=32 * "a", category="thing", motion=CurveMotion(location=where, rotation=still, scale=scale))
        for where, scale in ((way, one), (way, grown))
    ]
    toward = Curve(axes=((0.0,), (1.0,), (0.0,)))
    scene = SceneSpec(
        preset="own",
        seed=0,
        index=0,
        split="train",
        objects=things[:1],
        distractors=things[1:],
        camera=CameraSpec(motion=LookAtMotion(location=still, look_at=toward), fov=1.0, shutter=0.5),
        lights=(),
        render=RenderSettings(width=96, height=64, frames=4),
    )
    found = drawn_amounts(scene)
    speed = 0.1 / 4 * 48 / math.tan(0.5) * 480 / 64
    assert found.objects[0].motion == pytest.approx(speed) and found.blur == pytest.approx(speed / 2)
    assert (found.objects[0].scale, found.objects[0].lookalikes, found.distractors) == (pytest.approx(1), 1, 1)
    bigger = drawn_amounts(scene.model_copy(update={"objects": tuple(things[1:]), "distractors": ()}))
    assert (bigger.objects[0].scale, bigger.objects[0].varies) == (pytest.approx(4), True)


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
