"""Rain over a rendered frame: drops in space that fall from frame to frame, each a faint streak of the exposure.

Sizes are as Marshall and Palmer found them (1948), speeds as Atlas and others did (1973); a streak has the drop's share
of the light (Garg and Nayar, "Vision and rain", 2007): a drop dims what is behind it while it passes, and shows
surroundings that are mostly brighter. No Blender.
"""

from typing import NamedTuple

import cv2
import numpy as np

from blender_scenes.geometry import SceneGeometry, moved
from blender_scenes.spec import RainSpec
from blender_scenes.trajectories import focal_lengths
from vosforge.compiled import compiled
from vosforge.seeding import rng_for

SMALLEST, LARGEST = 0.002, 0.005
"""Diameters in metres: smaller drops are more, but seen as a haze only."""
HALF = 6.0
"""Half the side in metres of a cube before the camera that has all drops. One that leaves it enters on the far side."""
AHEAD = 4.5
"""Metres from the camera to the cube's middle."""
FADE = 1.0
"""Metres from the cube's sides within which drops fade, so that none is seen to enter."""
NEAREST = 0.4
"""Metres before the camera from which drops are drawn."""
REACH = 0.3
"""Metres from the view within which drops may reach into it during an exposure."""
SWAY = 0.3
"""Spread in metres a second of a drop's own drift in the wind."""
APERTURE, FOCUS = 0.005, 5.0
"""Metres: where the scene's camera is a pinhole, a lens this wide, sharp at this distance, blurs near drops."""
BLURS = np.array([0.0, 0.7, 1.5, 3.0, 6.0, 12.0])
"""Pixels: standard deviations to which those of streaks are rounded."""
SENSOR = 0.036
"""Metres: how wide the sensor of a scene's lens is (`LensSpec`)."""


class Streaks(NamedTuple):
    """What a frame shows of N drops; pixels, x right and y down."""

    start: np.ndarray
    """``[N, 2]``: where the middle is when the exposure begins."""
    end: np.ndarray
    """``[N, 2]``: where it is when it ends."""
    z: np.ndarray
    """``[N]``: metres along the camera's axis at the frame's instant."""
    area: np.ndarray
    """``[N]``: square pixels that it covers, spread over the streak; less where it fades."""
    blur: np.ndarray
    """``[N]``: standard deviation in pixels across the streak, of size and lens."""


def drops_per_volume(intensity: float) -> float:
    """Drops from SMALLEST to LARGEST in a cubic metre of rain of ``intensity`` millimetres an hour."""
    slope = _slope(intensity)
    return float(8e6 / slope * (np.exp(-slope * SMALLEST) - np.exp(-slope * LARGEST)))


def _slope(intensity: float) -> float:
    """How fast drops get fewer as their diameter grows, a metre."""
    return float(4100 * intensity**-0.21)


def terminal_speed(diameter: np.ndarray) -> np.ndarray:
    """How fast drops of these diameters (metres) fall: metres a second."""
    return 9.65 - 10.3 * np.exp(-600 * diameter)


def middles(geometry: SceneGeometry) -> np.ndarray:
    """The middle of the cube of drops in each frame: ``[T, 3]``."""
    to_world = np.linalg.inv(geometry.to_camera)
    return np.asarray(to_world[:, :3, 3] + AHEAD * to_world[:, :3, 2])


def farthest(geometry: SceneGeometry) -> np.ndarray:
    """The largest coordinates that drops ever reach: ``[3]``."""
    return np.asarray(middles(geometry).max(axis=0) + HALF)


class Rain:
    """The rain of one scene."""

    def __init__(self, geometry: SceneGeometry, rain: RainSpec) -> None:
        """Draws the drops, from the scene's seed, index and attempt."""
        spec = geometry.spec
        self._geometry, self._rain, self._middles = geometry, rain, middles(geometry)
        rng = rng_for(spec.seed, "rain", spec.index, spec.attempt)
        count, slope = round(drops_per_volume(rain.intensity) * (2 * HALF) ** 3), _slope(rain.intensity)
        self.places = rng.uniform(0, 2 * HALF, (count, 3))
        """Where drops are in the first frame, to within whole sides of the cube: metres, ``[N, 3]``."""
        largest = np.exp(-slope * (LARGEST - SMALLEST))
        self.diameters = SMALLEST - np.log(1 - rng.random(count) * (1 - largest)) / slope
        """Metres, ``[N]``."""
        self.velocities = rng.normal(0, SWAY, (count, 3))
        """Metres a second, ``[N, 3]``."""
        self.velocities[:, :2] += rain.wind
        self.velocities[:, 2] = -terminal_speed(self.diameters)

    def at(self, t: int) -> np.ndarray:
        """Where drops are in frame ``t``, in the cube before the camera: ``[N, 3]``."""
        low, side = self._middles[t] - HALF, 2 * HALF
        turns = self.places + self.velocities * (t / self._rain.rate) - low
        return low + turns - side * np.floor(turns / side)

    def streaks(self, t: int) -> Streaks:
        """The streaks of all drops that frame ``t`` may show."""
        rain, geometry = self._rain, self._geometry
        K, (height, width) = geometry.K[t], geometry.size
        places = self.at(t)
        x, y, z = moved(places, geometry.to_camera[t]).T
        half_x, half_y = (1.2 * side / (2 * K[0, 0]) for side in (width, height))  # streaks reach into the view
        near = np.flatnonzero((z > NEAREST) & (abs(x) < half_x * z + REACH) & (abs(y) < half_y * z + REACH))
        places, path, z = places[near], self.velocities[near] * (rain.exposure / 2), z[near]
        ends = [moved(places + side * path, geometry.cameras[instant, t]) for side, instant in ((-1, 0), (1, 2))]
        start, end = (each[:, :2] / np.maximum(each[:, 2:], NEAREST / 2) * K[0, 0] + K[:2, 2] for each in ends)
        aperture, focus = self._lens(t)
        size, blur = self.diameters[near] * K[0, 0] / z, aperture * np.abs(1 / z - 1 / focus) * K[0, 0]
        haze = geometry.spec.atmosphere
        to_border = HALF - np.abs(places - self._middles[t]).max(axis=1)
        shown = np.clip(to_border / FADE, 0, 1) * (1 if haze is None else np.exp(-haze.density * z))
        return Streaks(start, end, z, np.pi / 4 * size**2 * shown, np.hypot(size, blur) / 4)

    def _lens(self, t: int) -> tuple[float, float]:
        """The width of the lens and the distance at which it is sharp, metres."""
        camera, frames = self._geometry.spec.camera, self._geometry.frames
        if camera.lens is None:
            return APERTURE, FOCUS
        width = focal_lengths(camera, SENSOR, frames)[t] / camera.lens.f_number
        return float(width), float(np.polynomial.polynomial.polyval(t / (frames - 1), np.array(camera.lens.focus)))

    def cover(self, depth: np.ndarray, t: int) -> np.ndarray:
        """The share of the exposure for which drops are before each pixel: float32 ``[H, W]``.

        depth: float32 ``[H, W]``, metres along the camera's axis to what hides drops behind it; 0 where nothing does.
        """
        streaks, (height, width) = self.streaks(t), self._geometry.size
        layers = np.zeros((len(BLURS), height + 2, width + 2), np.float32)  # with a border
        layer = np.abs(streaks.blur[:, None] - BLURS).argmin(axis=1)
        draw_streaks(streaks, layer, np.where(depth > 0, depth, np.inf), layers)
        cover = layers[0]
        for blur, sharp in zip(BLURS[1:], layers[1:], strict=True):
            if sharp.any():
                cover += cv2.GaussianBlur(sharp, (0, 0), float(blur))
        return np.minimum(cover[1:-1, 1:-1], 1)

    def over(self, linear: np.ndarray, depth: np.ndarray, t: int) -> np.ndarray:
        """Frame ``t``, scene-linear float32 ``[H, W, 3]``, with rain before what it shows; ``depth`` as in `cover`."""
        cover, white = self.cover(depth, t)[:, :, None], (1 / self._geometry.gains[t]).astype(np.float32)
        shown = surroundings(np.minimum(linear, white))  # a sun of few pixels would outshine all others
        return linear + cover * (np.float32(self._rain.brightness) * shown - linear)


@compiled
def draw_streaks(streaks: Streaks, layer: np.ndarray, depth: np.ndarray, layers: np.ndarray) -> None:
    """Add the areas of N streaks, each spread evenly over its length, to one of ``layers`` each: ``layer [N]``.

    depth: ``[H, W]``, metres to what hides them; layers: ``[L, H + 2, W + 2]``, with a border of a pixel.
    """
    height, width = depth.shape
    for n in range(len(layer)):
        (x0, y0), (x1, y1) = streaks.start[n], streaks.end[n]
        count = int(np.hypot(x1 - x0, y1 - y0)) + 1
        part = streaks.area[n] / count
        for k in range(count):
            along = (k + 0.5) / count
            x, y = x0 + along * (x1 - x0), y0 + along * (y1 - y0)
            if 0 <= x < width and 0 <= y < height and streaks.z[n] < depth[int(y), int(x)]:
                left, top = int(x + 0.5), int(y + 0.5)  # the border moves pixels by one, their centres are at halves
                right, down = x + 0.5 - left, y + 0.5 - top
                layers[layer[n], top, left] += part * (1 - right) * (1 - down)
                layers[layer[n], top, left + 1] += part * right * (1 - down)
                layers[layer[n], top + 1, left] += part * (1 - right) * down
                layers[layer[n], top + 1, left + 1] += part * right * down


def surroundings(linear: np.ndarray) -> np.ndarray:
    """What drops show of a frame: float32 ``[H, W, 3]``, as `linear`.

    They show nearly all that is around them: the frame blurred widely, the mean of all and its grey, a third each.
    """
    height, width = linear.shape[:2]
    coarse = cv2.resize(linear, (max(width // 16, 1), max(height // 16, 1)), interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(coarse, (0, 0), max(coarse.shape) / 8, borderType=cv2.BORDER_REPLICATE)
    mean = coarse.mean(axis=(0, 1))
    shown = (wide + mean + mean.mean()) / 3
    return np.asarray(cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR))
