"""Pictures of frames with their masks: the palette, overlays, scribbles and contact sheets. No files, no charts."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vosforge.videos.palette import PALETTE
from vosforge.videos.video import Video

SHEET_BACKGROUND = (24, 26, 30)
SHEET_TEXT = (214, 218, 224)
CAPTION_SIZE = 13

# The same hues at full brightness, for lines: the palette's own half-bright colours vanish against a photograph.
LINE_PALETTE = (PALETTE.astype(np.float32) * (255 / np.maximum(PALETTE.max(1, keepdims=True), 1))).astype(np.uint8)


def outline(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """The inner edge of every object, bool [H, W]: 1 px wide, 2 px from 400 px of the shorter side on.

    A pixel is on the edge when another label lies that close above, below, left or right; the picture's border is
    no edge. ``mask``: integer [H, W], 0 = background.
    """
    edge = np.zeros(mask.shape, bool)
    for step in range(1, 3 if min(mask.shape) >= 400 else 2):
        vertical = mask[step:] != mask[:-step]
        horizontal = mask[:, step:] != mask[:, :-step]
        edge[step:] |= vertical
        edge[:-step] |= vertical
        edge[:, step:] |= horizontal
        edge[:, :-step] |= horizontal
    return edge & (mask > 0)


def overlay(frame: NDArray[np.uint8], mask: NDArray[np.uint8], alpha: float = 0.5) -> NDArray[np.uint8]:
    """``frame`` uint8 [H, W, 3] with its objects tinted by ``alpha`` and outlined; the background stays as it is.

    ``mask``: uint8 [H, W], 0 = background. Raises ValueError when the two differ in size.
    """
    if frame.shape[:2] != mask.shape:
        raise ValueError(f"a mask of {mask.shape} does not fit a frame of {frame.shape[:2]}")
    tinted = np.rint((1 - alpha) * frame + alpha * PALETTE[mask]).astype(np.uint8)
    shown = np.where((mask > 0)[..., None], tinted, frame)
    edge = outline(mask)
    shown[edge] = LINE_PALETTE[mask[edge]]
    return shown


def frame_picture(video: Video, t: int, longest: int | None = None) -> NDArray[np.uint8]:
    """Frame ``t``, at most ``longest`` pixels long; without colours, its mask on black."""
    if not video.has_colors:
        return labelled_picture(video, t, longest)
    return video.frame(t) if longest is None else shrink(video.frame(t), longest)


def labelled_picture(video: Video, t: int, longest: int | None = None) -> NDArray[np.uint8]:
    """Frame ``t`` with its mask, where it has one, shrunk before drawing so that outlines stay crisp."""
    if not video.has_masks:
        return frame_picture(video, t, longest)
    mask = video.mask(t) if longest is None else shrink_labels(video.mask(t), longest)
    if not video.has_colors:
        return overlay(np.zeros((*mask.shape, 3), np.uint8), mask, alpha=1.0)
    return overlay(frame_picture(video, t, longest), mask)


def scribble_layer(scribbles: NDArray[Any]) -> NDArray[np.uint8]:
    """A transparent picture of the strokes, uint8 [H, W, 4] RGBA: object colours (black: background), white rims.

    ``scribbles``: signed integer [H, W], -1 = no stroke, 0 = background, j = object j.
    """
    radius = max(1, round(min(scribbles.shape) / 200))
    colours = np.zeros((*scribbles.shape, 3), np.uint8)
    stroke = np.zeros(scribbles.shape, bool)
    for label in np.unique(scribbles[scribbles >= 0]):
        line = _dilated(scribbles == label, radius)
        colours[line] = LINE_PALETTE[label]
        stroke |= line
    rim = _dilated(stroke, 1) & ~stroke
    colours[rim] = 255
    return np.dstack([colours, np.where(stroke | rim, 255, 0).astype(np.uint8)])


def draw_scribbles(frame: NDArray[np.uint8], scribbles: NDArray[Any]) -> NDArray[np.uint8]:
    """``frame`` uint8 [H, W, 3] with the strokes of ``scribbles`` (see ``scribble_layer``) drawn over it."""
    layer = scribble_layer(scribbles)
    return np.where(layer[..., 3:] > 0, layer[..., :3], frame)


def shrink(frame: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """``frame`` uint8 [H, W, 3] scaled down until its longer side has at most ``longest`` pixels; never up."""
    height, width = shrunk_size(frame.shape[0], frame.shape[1], longest)
    if (height, width) == frame.shape[:2]:
        return frame
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def shrink_labels(labels: NDArray[Any], longest: int) -> NDArray[Any]:
    """``labels`` [H, W] of any integer type, scaled as ``shrink`` scales its frame, without mixing labels."""
    height, width = shrunk_size(labels.shape[0], labels.shape[1], longest)
    rows = (np.arange(height) * labels.shape[0] + labels.shape[0] // 2) // height
    columns = (np.arange(width) * labels.shape[1] + labels.shape[1] // 2) // width
    return labels[rows][:, columns]


def shrunk_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width after scaling down to at most ``longest`` pixels on the longer side."""
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def contact_sheet(
    rows: Sequence[Sequence[NDArray[np.uint8]]], labels: Sequence[Sequence[str]], gap: int = 6
) -> NDArray[np.uint8]:
    """Rows of pictures (uint8 [H, W, 3] each) on one dark sheet, uint8 [h, w, 3], with a small caption under each.

    ``labels`` holds one text for each picture; a row whose texts are all empty takes no room for captions. A text
    too long for its picture is cut with an ellipsis. Raises ValueError without pictures or with missing labels.
    """
    if not any(len(row) for row in rows):
        raise ValueError("a contact sheet needs at least one picture")
    if [len(row) for row in rows] != [len(texts) for texts in labels]:
        raise ValueError("a contact sheet needs one label for each picture")
    cell = max(tile.shape[1] for row in rows for tile in row)
    heights = [max((tile.shape[0] for tile in row), default=0) for row in rows]
    captions = [CAPTION_SIZE + 7 if any(texts) else 0 for texts in labels]
    width = max(len(row) for row in rows) * (cell + gap) + gap
    height = sum(heights) + sum(captions) + gap * (len(rows) + 1)

    sheet = Image.new("RGB", (width, height), SHEET_BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(CAPTION_SIZE)
    top = gap
    for row, texts, tall, caption in zip(rows, labels, heights, captions, strict=True):
        for column, (tile, text) in enumerate(zip(row, texts, strict=True)):
            left = gap + column * (cell + gap)
            sheet.paste(Image.fromarray(tile), (left, top))
            draw.text((left + 1, top + tall + 2), _cut(draw, font, text, cell), SHEET_TEXT, font)
        top += tall + caption + gap
    return np.asarray(sheet)


def evenly_spaced(total: int, count: int) -> list[int]:
    """At most ``count`` different indices below ``total``, evenly spaced from the first to the last."""
    if count <= 1 or total <= 1:
        return [0][:total]
    count = min(count, total)
    return [math.floor(i * (total - 1) / (count - 1) + 0.5) for i in range(count)]


def _dilated(region: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(region.astype(np.uint8), disc) > 0


def _cut(draw: ImageDraw.ImageDraw, font: Any, text: str, width: int) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
