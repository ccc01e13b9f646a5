"""Commands in the wrong order, with wrong arguments, on wrong kinds of files: one sentence, code 2, nothing written."""

import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mivos_models import S2M, Fusion, Propagation, save_network
from tests.tools.painted import painted_dataset
from tools.cli import main
from tools.convert.davis import write_davis
from tools.convert.importing import import_dataset
from vosforge.videos import ShardSet

WRONG = """
verify emptydir | neither a data set nor a shard
verify nothere | neither a data set nor a shard
verify afile.txt | afile.txt is not a shard
verify bin.bin | is not a shard
verify r1/shards | neither a data set nor a shard
verify r1 --workers 0 | --workers
verify r1 --quick --repair | leave --quick out
verify imp --repair | import the data again
stats emptydir | not a rendered data set
stats afile.txt | is not a shard
stats r1 --out afile.txt | afile.txt is a file
view emptydir | neither frames nor films nor JPEGImages
view nothere | nothere does not exist
view r1:999999 | there is no video '999999'
view r1/shards | r1/shards is part of a data set: name r1
view r1/manifest.jsonl | is not a shard
view broken | is damaged
view r1 --out afile.txt/x | afile.txt is a file
export emptydir zz --format coco | not a rendered data set
export r1 exp --format coco | exp exists and is not empty
export r1 zz --format yolo | unknown format 'yolo'
export r1 zz --format coco --split test | unknown split 'test'
export r1 zz --format coco --video 77 | there is no video '77'
export r1:000000 zz --format mp4 | --video 000000
export r1 zz | Missing option '--format'
export r1 afile.txt --format davis | afile.txt is a file
train emptydir zz | holds neither shards nor videos nor images with masks
train r1 zz --recipe huge | unknown recipe 'huge'
train r1 zz --network foo | unknown network 'foo'
train r1 zz --stage stills | unknown stage 'stills'; known: main
train r1 zz --set s2m.init=nowhere.pth | no checkpoint nowhere.pth
train r1 zz --recipe mivos --set fusion.init=imagenet | no trunk
train r1 zz --network fusion | holds no propagation network
train r1 zz --set fusion.batch=0 | 'fusion.batch' cannot be 0
train r1 zz --set s2m.augmentation.geometry.zoom=[2,1] | put the lower number first
train r1 afile.txt | afile.txt is a file
train empty-masks zz | has masks with an object
import emptydir zz | holds no video
import nothere zz | nothere does not exist
import afile.txt zz | tar
import exp r1 | holds no unfinished import
import exp afile.txt | afile.txt is a file
import exp zz --format voc | unknown format 'voc'
assets | Missing command
assets check emptydir | holds no mesh files
assets check nothere | there is no folder nothere
assets check afile.txt | afile.txt is a file
assets install foo | unknown pack 'foo'
assets list afile.txt | afile.txt, line 1
scenes describe afile.txt | afile.txt, line 1
scenes describe bin.bin | cannot read the scenes
scenes sample --catalog r1 --out emptydir | emptydir is a folder
scenes sample --catalog r1 --set scene.preset=foo | unknown preset 'foo'; known: basic, bl30k
scenes sample --catalog r1 --count x | --count
render | Missing argument
render --out x | --out
render zzz --assets nothere | there is no folder nothere
render zzz --assets emptydir | holds no mesh files
render zzz --textures afile.txt | there is no folder afile.txt
render zzz --preset kubric | unknown preset 'kubric'
render zzz --quality ultra | unknown quality 'ultra'
render zzz --passes rgb | 'render.passes.0' cannot be 'rgb'
render zzz --passes depth,depth | names a pass twice
render zzz --videos -1 | --videos
render zzz --videos 99999999999 | 'videos' cannot be 99999999999
render zzz --frames nan | --frames
render zzz --address 127.0.0.1:1 | nothing answers at 127.0.0.1:1
render zzz --part 5/4 | there is no part 5/4
render zzz --part seven | 'seven' is no part
render zzz --part 1/2 --address 127.0.0.1:1 | leave out --address
render zzz --part 1/2 --prepare-only | leave out --prepare-only
render zzz --set a | cannot read the setting 'a'
render zzz --set 'a=[1,' | cannot read the setting 'a=[1,'
render zzz --config ok.yaml --set .=3 | cannot read the setting '.=3'
render zzz --config ok.yaml --set render.width=x | the command line: 'render.width' cannot be 'x'
render zzz --config range.yaml | range.yaml: 'scene.objects' cannot be [5, 2]
render zzz --config list.yaml | must hold keys and values
render zzz --config tabs.yaml | tabs.yaml is not valid YAML: line 1, column 3
render zzz --config emptydir | Is a directory
render zzz --set scene.lights=[3,1] | 'scene.lights' cannot be [3, 1]
render zzz --set scene.preset=foo | unknown preset 'foo'; known: basic, bl30k
render imp --num-meshes 2 | holds imported videos
render exp --num-meshes 2 | exp holds other files (Annotations)
render r1/shards | holds other files
render afile.txt --num-meshes 2 | afile.txt is a file
render afile.txt/x | afile.txt is a file
train r1 s3://bucket/data | is a URL
render r1 --videos 5 | was started with videos = 7, not 5
render r1 --frames 9 | was started with render.frames = 3, not 9
infer r1 zz --networks nets --mask small.png | is 8x8, its frame 48x32
infer r1 zz --networks nets --mask afile.txt | the mask afile.txt is damaged or not a PNG
infer r1 zz --networks nets --mask small.png --frame -1 | --frame
infer r1 zz --networks nothere --mask small.png | there is no folder nothere
infer r1 zz --networks ./small --mask small.png | there is no folder small
infer r1 zz --networks nets --click 0,1 | cannot read the click '0,1'
infer r1 zz --networks nets --click 3,1,1 | the click '3,1,1' is on frame 3: click on one of the video's frames, 0..2
infer r1 zz --networks nets --click 0,48,1 | the click '0,48,1' is outside the 48×32 frame
infer r1 zz --networks nets --click 0,1,1,0 | the clicks mark only background
infer r1 zz --networks nets --click 0,1,1 --mask small.png | give only one of --mask, --scribbles and --click
infer r1 zz --networks nets --click 0,1,1 --scribbles afile.txt | give only one of
evaluate r1 --networks nothere --out zz | cannot read the checkpoint nothere
evaluate r1 --networks nothere --out zz --interactive | there is no folder nothere
infer r1 zz --networks nets --scribbles bin.bin | cannot read the scribbles
infer r1 afile.txt --networks nets --mask small.png | afile.txt is a file
infer exp/JPEGImages/480p/000000 exp/own --networks nets --scribbles afile.txt | cannot read the scribbles
infer own own --networks nets --mask small.png | holds the video's own masks
demo --out exp | exp holds other files
demo --out afile.txt | afile.txt is a file
demo --set rounds=0 | 'rounds' cannot be 0
demo --set dataset.scene.preset=foo --out zz | unknown preset 'foo'
render r1 --retry-quarantined crsh | unknown class 'crsh' of quarantined videos; known: crash, hang, out of memory
render --retry-quarantined r1 | unknown class 'r1'
status emptydir | has no dataset.yaml
status nothere | has no dataset.yaml
status afile.txt | has no dataset.yaml
status imp | has no dataset.yaml
estimate imp | holds imported videos
estimate afile.txt | afile.txt is a file
estimate r1/shards | holds other files
estimate zzz --preset kubric | unknown preset 'kubric'
estimate zzz --set scene.preset=foo | unknown preset 'foo'
estimate zzz --samples 0 | --samples
estimate zzz --assets nothere | there is no folder nothere
estimate zzz --device tpu | unknown device 'tpu'
estimate zzz --usd-per-core-hour -1 | --usd-per-core-hour
nonsense | No such command
"""
CASES = [[part.strip() for part in line.split(" | ")] for line in WRONG.strip().splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a little of everything."""
    root = tmp_path_factory.mktemp("place")
    painted_dataset(root / "r1", quarantined=None)
    (root / "emptydir").mkdir()
    (root / "afile.txt").write_text("hello\n")
    (root / "bin.bin").write_bytes(b"\xff\xfe\x00\x81")
    (root / "broken").mkdir()
    (root / "broken/manifest.jsonl").write_bytes(b"\xff{\n")
    for name, text in (
        ("ok.yaml", "videos: 2\n"),
        ("range.yaml", "scene:\n  objects: [5, 2]\n"),
        ("list.yaml", "- 1\n"),
        ("tabs.yaml", "a:\tb\n\tc: d\n"),
    ):
        (root / name).write_text(text)
    write_davis(iter(ShardSet(root / "r1")), root / "exp")
    write_frames(root / "own", 0)
    write_frames(root / "blank", 0)
    import_dataset(root / "exp", root / "imp", workers=1)
    import_dataset(root / "blank", root / "empty-masks", workers=1)
    Image.fromarray(np.ones((8, 8), np.uint8)).save(root / "small.png")
    for kind, network in (("s2m", S2M(18, 0.125)), ("propagation", Propagation(18, 0.125)), ("fusion", Fusion(0.5))):
        save_network(network, root / "nets" / f"{kind}.pth")
    return root


def write_frames(root: Path, label: int) -> None:
    for folder, size in (("JPEGImages/a", (32, 48, 3)), ("Annotations/a", (32, 48))):
        (root / folder).mkdir(parents=True)
        for t in range(2):
            Image.fromarray(np.full(size, label, np.uint8)).save(root / folder / f"{t:05d}.png")


@pytest.fixture
def run(place, monkeypatch, tmp_path, capfd):
    """Run a command in ``place``: its exit code and its lines on the standard error."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("VOSFORGE_CACHE", str(tmp_path / "cache"))
    before = signal.getsignal(signal.SIGTERM)

    def run(words):
        with pytest.raises(SystemExit) as end:
            main(words)
        return end.value.code, capfd.readouterr().err.splitlines()

    yield run
    signal.signal(signal.SIGTERM, before)


def contents(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


@pytest.mark.parametrize(("command", "says"), CASES, ids=[command for command, _ in CASES])
def test_a_wrong_command_is_one_sentence_with_code_2_and_writes_nothing(run, place, command, says):
    before = contents(place)
    code, lines = run(shlex.split(command))
    assert (code, len(lines)) == (2, 1), lines
    assert lines[0].startswith("vosforge: ") and says in lines[0]
    assert contents(place) == before


def test_a_name_that_is_no_text_is_told_as_it_is(run, place):
    code, lines = run(["view", "caf\udce9"])
    assert code == 2 and "caf" in lines[0] and "does not exist" in lines[0]


def test_a_tilde_is_the_home_wherever_a_path_is_named(run, place, monkeypatch):
    monkeypatch.setenv("HOME", str(place / "nobody"))
    for words in (["view", "~/v"], ["view", "~/v:3"], ["train", "~/v", "zz"], ["assets", "check", "~/v"]):
        assert f"{place}/nobody/v" in run(words)[1][0]
    assert f"{place}/nobody/c.yaml" in run(["render", "zz", "--config=~/c.yaml"])[1][0]
    assert f"{place}/nobody/v" in run(["render", "zz", "--set", "assets.models=~/v"])[1][0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_config_with_a_byte_order_mark_is_read(run, place, tmp_path, encoding):
    path = tmp_path / "config.yaml"
    path.write_bytes("videos: 5\n".encode(encoding))
    assert "was started with" in run(["render", "r1", "--config", str(path)])[1][0]
