import base64
import dataclasses
import json
import math
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.demo import report as rp
from tools.inspect.charts import loss_chart, round_chart, smoothed
from tools.inspect.overlay import LINE_PALETTE, overlay
from vosforge.videos.palette import PALETTE

T, H, W = 4, 48, 64
GREY = (120, 120, 120)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--dump-dom",
)


def scores(*values: float) -> tuple[rp.RoundScore, ...]:
    return tuple(rp.RoundScore(value - 0.02, value + 0.02, value) for value in values)


def result(name: str, truth: bool = True) -> rp.InteractiveResult:
    """Grey frames; after round r object r + 1 fills the left half, in the ground truth object 3 the right half."""
    rounds = []
    for r in range(2):
        masks = np.zeros((T, H, W), np.uint8)
        masks[..., : W // 2] = r + 1
        scribbles = np.full((H, W), -1, np.int16)
        scribbles[5, 40:60] = r + 1
        rounds.append(rp.InteractiveRound(masks, scribbles, scribbled_frame=r, jf=0.4 + 0.2 * r))
    right = np.zeros((T, H, W), np.uint8)
    right[..., W // 2 :] = 3
    return rp.InteractiveResult(name, np.full((T, H, W, 3), 120, np.uint8), tuple(rounds), right if truth else None)


def small_report(**changes: Any) -> rp.DemoReport:
    report = rp.DemoReport(
        title="A <small> demo",
        created="22 November 2026",
        renders=rp.RenderSummary(8, 192, 93.0, 2.06, 0, 0, 1),
        contact_sheets=[rp.ContactSheet("video <b>000001</b>", np.full((40, 90, 3), 7, np.uint8))],
        losses={
            name: [(i, 1 / (i + 1)) for i in range(60)]
            for name in ("S2M network", "propagation network", "fusion network")
        },
        scores=[
            rp.VideoScores("000006", "held-out", scores(0.4, 0.5, 0.613), scores(0.1, 0.2, 0.3)),
            rp.VideoScores("000007", "held-out", scores(0.5, 0.6, 0.701), scores(0.2, 0.3, 0.4)),
            rp.VideoScores("libby", "real", scores(0.3, 0.35), scores(0.05, 0.06)),
        ],
        interactive=[result("000006"), result("</script><b>libby", truth=False)],
        stages=[rp.Stage("render", 93.0), rp.Stage("train", 61.4, "reused")],
        settings=[("seed", "0")],
        versions={"torch": "2.8"},
        credits=[rp.AssetCredit("chair", "CC-BY-3.0", "A. <Maker>"), rp.AssetCredit("vase", "CC0-1.0", "VOSForge")],
        commands=["vosforge demo --seed 0"],
    )
    return dataclasses.replace(report, **changes)


class Page(HTMLParser):
    """Text, addresses and ids of a page, and whether its tags are balanced."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.data, self.addresses, self.ids = "", "", [""], [""]
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.addresses += [
            found[key] or "" for key in ("src", "href", "xlink:href", "action", "srcset") if key in found
        ]
        self.ids += [found["id"] or ""] if "id" in found else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.data = self.data or data
        elif self.open and self.open[-1] != "style":
            self.text += data


def written(folder: Path, report: rp.DemoReport) -> tuple[str, Page]:
    path = rp.write_report(folder / "run" / "report.html", report)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    html = path.read_text(encoding="utf-8")
    return html, Page(html)


def picture(address: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(address.partition("base64,")[2], validate=True)))


def test_report_tells_everything_it_was_given(tmp_path: Path) -> None:
    _, page = written(tmp_path, small_report())
    for told in ("A <small> demo", "22 November 2026", "video <b>000001</b>", "A. <Maker>", "CC-BY-3.0", "reused"):
        assert told in page.text
    for told in ("000006", "000007", "libby", "Mean over 2 objects", "1 min 33 s", "vosforge demo --seed 0", "2.8"):
        assert told in page.text
    for network in ("S2M network", "propagation network", "fusion network"):
        assert network in page.text
    for value in ("61.3", "59.3", "63.3", "70.1", "35.0", "6.0"):
        assert value in page.text
    assert "Round 3" in page.text and "Round 4" not in page.text
    mean_trained = (61.3 + 70.1) / 2
    assert "Passed" in page.text and f"{mean_trained - 35:+.1f}" in page.text


def test_the_shipped_networks_have_a_row_and_a_curve_where_they_were_evaluated(tmp_path: Path) -> None:
    _, page = written(tmp_path / "without", small_report())
    assert "shipped" not in page.text
    first, *others = small_report().scores
    first = dataclasses.replace(first, shipped=scores(0.7, 0.8, 0.876))
    _, page = written(tmp_path / "with", small_report(scores=[first, *others]))
    assert "They segmented video\n  000006 only" in page.text
    assert "87.6" in page.text and "85.6" in page.text and "89.6" in page.text
    assert page.text.count("at initialisation 10.0, 20.0, 30.0 and shipped 70.0, 80.0, 87.6") == 1


def test_report_loads_nothing_and_its_pictures_decode(tmp_path: Path) -> None:
    html, page = written(tmp_path, small_report())
    assert not re.findall(r"https?://|@import|url\((?!#)", html)
    assert all(address.startswith(("#", "data:")) for address in page.addresses if address)
    assert len(set(page.ids)) == len(page.ids)
    anchors = {address[1:] for address in page.addresses if address.startswith("#")}
    assert anchors <= set(page.ids)
    videos = json.loads(page.data)
    assert [video["name"] for video in videos] == ["000006", "</script><b>libby"]
    addresses = [address for address in page.addresses if address.startswith("data:image")]
    assert len(addresses) == 1
    for video in videos:
        assert len(video["frames"]) == T and [len(state["masks"]) for state in video["rounds"]] == [T, T]
        assert [state["frame"] for state in video["rounds"]] == [0, 1]
        addresses += [*video["frames"], *(video["truth"] or [])]
        addresses += [address for state in video["rounds"] for address in (*state["masks"], state["scribbles"])]
    assert videos[0]["truth"] and videos[1]["truth"] is None
    for address in addresses:
        picture(address).load()


def shown_mask(folder: Path, mask: np.ndarray) -> Image.Image:
    """The picture of a mask [H,W] in a report."""
    frames = np.full((1, *mask.shape, 3), 120, np.uint8)
    state = rp.InteractiveRound(mask[None], np.full(mask.shape, -1, np.int16), 0, None)
    _, page = written(folder, small_report(interactive=[rp.InteractiveResult("one", frames, (state,))]))
    return picture(json.loads(page.data)[0]["rounds"][0]["masks"][0]).convert("RGBA")


def test_a_mask_picture_laid_over_its_frame_is_the_overlay(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
    mask = np.kron(rng.integers(0, 6, (H // 8, W // 8), dtype=np.uint8), np.ones((8, 8), np.uint8))
    layer = shown_mask(tmp_path / "few", mask)
    shown = Image.alpha_composite(Image.fromarray(frame).convert("RGBA"), layer).convert("RGB")
    assert np.abs(np.asarray(shown, int) - overlay(frame, mask)).max() <= 2
    many = np.arange(256, dtype=np.uint8).repeat(36).reshape(256, 36)
    clear = np.asarray(shown_mask(tmp_path / "many", many))[..., 3]
    assert (clear[[0, 255]] == 0).all() and (clear[1:255] > 0).all()


def test_large_frames_are_shrunk_with_their_masks_and_thin_strokes_survive(tmp_path: Path) -> None:
    frames, masks = np.full((1, 960, 1920, 3), 90, np.uint8), np.ones((1, 960, 1920), np.uint8)
    scribbles = np.full((960, 1920), -1, np.int16)
    scribbles[::7, 1001], scribbles[500, 301] = 2, 1
    state = rp.InteractiveRound(masks, scribbles, 0, None)
    _, page = written(tmp_path, small_report(interactive=[rp.InteractiveResult("large", frames, (state,))]))
    (video,) = json.loads(page.data)
    assert (video["height"], video["width"]) == (rp.LONGEST_SIDE // 2, rp.LONGEST_SIDE)
    pictures = [
        picture(a) for a in (video["frames"][0], video["rounds"][0]["masks"][0], video["rounds"][0]["scribbles"])
    ]
    assert {image.size for image in pictures} == {(rp.LONGEST_SIDE, rp.LONGEST_SIDE // 2)}
    strokes = np.asarray(pictures[2])
    row, left, right = (n * rp.LONGEST_SIDE // 1920 for n in (500, 301, 1001))
    assert (strokes[row, left, :3] == LINE_PALETTE[1]).all()
    assert (strokes[:, right, 3] == 255).mean() > 0.95


def test_verdict_passes_from_ten_points_on_held_out_videos_only() -> None:
    renders = small_report().renders

    def verdict(gain: float, **changes: int) -> rp.Verdict:
        videos = [
            rp.VideoScores("a", "held-out", scores(0.9, 0.25 + gain), scores(0.1, 0.25)),
            rp.VideoScores("b", "held-out", scores(0.9, 0.75 + gain), scores(0.1, 0.75)),
            rp.VideoScores("c", "real", scores(0.9), scores(0.1)),
        ]
        return rp.judge(dataclasses.replace(renders, **changes), videos)

    assert verdict(0.11).passed and verdict(0.11).gain == pytest.approx(11)
    assert (verdict(0.11).trained, verdict(0.11).initial) == (pytest.approx(0.61), pytest.approx(0.5))
    assert not verdict(0.09).passed and not verdict(-0.2).passed and not verdict(math.nan).passed
    assert not verdict(0.11, black_frames=1).passed
    assert not verdict(0.11, maskless_frames=1).passed
    assert not verdict(0.11, frames=0).passed
    crowd = [
        rp.VideoScores("a", "held-out", scores(0.9), scores(0.1), 3),
        rp.VideoScores("b", "held-out", scores(0.5), scores(0.1)),
    ]
    assert rp.judge(renders, crowd).trained == pytest.approx((3 * 0.9 + 0.5) / 4)  # the mean over objects, not videos
    unscored = rp.judge(renders, [rp.VideoScores("c", "real", scores(0.9), scores(0.1))])
    assert not unscored.passed and unscored.gain is None


def test_a_failed_and_empty_run_says_so(tmp_path: Path) -> None:
    empty = small_report(contact_sheets=(), losses={"s2m": []}, scores=(), interactive=(), stages=(), credits=())
    _, page = written(tmp_path, dataclasses.replace(empty, renders=rp.RenderSummary(0, 0, 0.0, 0.0, 0, 0, 0)))
    assert "Failed" in page.text and "Passed" not in page.text
    for told in ("no held-out video was scored", "No contact sheet", "No video was segmented", "No video was scored"):
        assert told in page.text
    assert "0 steps" in page.text and not any(name.startswith("loss-") for name in page.ids)


def test_curves_are_drawn_only_from_losses_there_are() -> None:
    assert loss_chart([], "a") == "" and loss_chart([(0, math.nan)], "a") == ""
    chart = loss_chart([(0, 2.0), (1, math.nan), (2, 1.0)], "a")
    assert "over 3 steps" in chart and "currentColor" in chart and "#0102" not in chart
    assert "trained 50.0, 60.0 and at initialisation 10.0" in round_chart([50, 60], [10], "b")


def test_smoothing_keeps_what_is_smooth_and_does_not_lag() -> None:
    steps = np.arange(200.0)
    np.testing.assert_allclose(smoothed(np.full(200, 3.0)), 3)
    np.testing.assert_allclose(smoothed(steps)[20:-20], steps[20:-20])
    noise = np.random.default_rng(0).normal(size=200)
    assert smoothed(noise).std() < 0.5 * noise.std()
    holes = np.where(steps % 5 == 0, math.nan, 3.0)
    np.testing.assert_allclose(smoothed(holes), 3)
    assert np.isnan(smoothed(np.full(4, math.nan))).all()


# Drives the player as a user would and leaves what the canvas shows, as JSON, in the page. Each step waits for a
# finished drawing, never for a number of milliseconds; as waiting draws once more, each action is also checked to have
# started a drawing by itself. Chromium prints the page once it is loaded, which the gate holds up till the end.
DRIVER = """
<img src="GATE/hold" alt="">
<script>
(async () => {
  const seen = {silent: []};
  const act = async (what, action) => {
    const before = drawing;
    action();
    if (drawing === before) seen.silent.push(what);
    await draw();
  };
  const set = (node, change, event) => act(node.id || event, () => {
    change(node);
    node.dispatchEvent(new Event(event, {bubbles: true}));
  });
  const at = (x, y) => {
    const scale = canvas.width / video.width;
    return [...pen.getImageData((x + .5) * scale, (y + .5) * scale, 1, 1).data].slice(0, 3);
  };
  const look = name => {
    seen[name] = {left: at(16, 24), right: at(48, 24), stroke: at(50, 5), status: element("status").textContent};
  };
  const view = name => set(document.querySelector(`input[value=${name}]`), node => { node.checked = true; }, "change");
  await draw(); look("start");
  await set(slider, node => { node.value = 2; }, "input"); look("away");
  await act("jump", () => element("jump").click()); look("jumped");
  await set(element("scribbles"), node => { node.checked = false; }, "change"); look("no strokes");
  await set(document.querySelector("input[name=round]"), node => { node.checked = true; }, "change"); look("round 1");
  await view("truth"); look("truth");
  await view("frame"); look("frame");
  await view("truth");
  await set(slider, node => { node.value = 3; }, "input"); look("slid");
  element("play").click();
  for (let i = 0; i < 1000 && Number(slider.value) !== 1; i++) await new Promise(done => setTimeout(done, 10));
  element("play").click(); await draw(); look("played");
  await set(element("video"), node => { node.value = 1; }, "change"); look("second video");
  seen.videos = [...element("video").options].map(option => option.text);
  seen.rounds = [...document.querySelectorAll("#rounds label")].map(label => label.textContent);
  seen.truthDisabled = document.querySelector("input[value=truth]").disabled;
  seen.label = canvas.getAttribute("aria-label");
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(seen))));
  document.body.append(out);
})().finally(() => { new Image().src = "GATE/open"; });
</script>
"""


@pytest.fixture
def gate() -> Iterator[str]:
    """The address of a server that answers ``/hold`` only once something else was asked for, or after a minute."""
    opened = threading.Event()

    class Gate(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/hold":
                opened.wait(60)
            opened.set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Gate) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open the report with (apt-get install chromium)")
def test_the_player_plays(tmp_path: Path, gate: str) -> None:
    path = rp.write_report(tmp_path / "report.html", small_report())
    path.write_text(path.read_text().replace("</body>", f"{DRIVER.replace('GATE', gate)}</body>"))
    command = [str(CHROMIUM), *CHROMIUM_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="seen">([^<]*)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    seen = json.loads(base64.b64decode(found[1]))

    def shows(moment: str, place: str, colour: tuple[int, ...]) -> None:
        assert np.abs(np.array(seen[moment][place]) - colour).max() <= 6, (moment, place, seen[moment])

    tint = {label: tuple((PALETTE[label].astype(int) + 120) // 2) for label in (1, 2, 3)}
    for moment, left, right in (
        ("start", tint[2], GREY),
        ("no strokes", tint[2], GREY),
        ("round 1", tint[1], GREY),
        ("truth", GREY, tint[3]),
        ("frame", GREY, GREY),
        ("slid", GREY, tint[3]),
        ("second video", tint[2], GREY),
    ):
        shows(moment, "left", left)
        shows(moment, "right", right)
    shows("jumped", "stroke", tuple(LINE_PALETTE[2].astype(int)))
    shows("no strokes", "stroke", GREY)
    assert not seen["silent"], "these did not draw"
    told = {moment: seen[moment]["status"] for moment in ("start", "away", "jumped", "slid", "played")}
    assert told == {name: f"frame {t} / 3" for name, t in zip(told, (1, 2, 1, 3, 1), strict=True)}
    assert seen["videos"] == ["000006", "</script><b>libby"] and seen["truthDisabled"]
    assert seen["rounds"] == ["1: J&F 40.0", "2: J&F 60.0"]
    assert seen["label"] == "</script><b>libby, frame 1, after round 2"
