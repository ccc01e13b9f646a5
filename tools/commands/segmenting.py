"""Segments the videos of a set with a propagation network, to evaluate them."""

import hashlib
from pathlib import Path

from mivos_models import load_propagation, shipped_networks
from tools.commands.evaluation import open_truths
from tools.commands.timing import Timing, read_timing, write_timing
from tools.convert.writing import palette_png
from train.evaluation.corruptions import check_corruption, corrupted
from train.evaluation.segmenting import segment
from train.loop import torch_device
from vosforge.errors import InputError
from vosforge.files import sealed_folder
from vosforge.progress import progress
from vosforge.trouble import attempting
from vosforge.videos import Place
from vosforge.videos.names import safe_name


def segment_set(
    where: Place,
    networks: Path | None,
    out: Path,
    protocol: str,
    split: str | None = None,
    short_side: int | None = None,
    device: str = "auto",
    corrupt: str | None = None,
    strength: int = 1,
    *,
    adapt: bool = False,
) -> Path:
    """Segment videos from their objects' true first masks, as ``out/masks/VIDEO/NAME.png``; returns that folder.

    ``networks``: a folder with ``propagation.pth``, or such a file; None: the shipped ones. A second run with the same
    networks and settings resumes; with others it raises InputError. ``corrupt``, ``strength``: of
    `train.evaluation.corruptions`; ``adapt``: as in `propagate`.
    """
    if corrupt is not None:
        check_corruption(corrupt, strength)
    truths = open_truths(where, protocol, split)
    networks = shipped_networks() if networks is None else networks
    weights = networks / "propagation.pth" if networks.is_dir() else networks
    on = torch_device(device)
    network = load_propagation(weights).to(on)
    first_only = protocol in ("davis16", "davis17")
    settings = f"{short_side} {first_only} {corrupt} {strength}{' adapted' if adapt else ''}"
    basis = hashlib.sha256(weights.read_bytes() + settings.encode()).hexdigest()
    folder = out / "masks"
    timing = read_timing(folder) or Timing(basis=basis, device=str(on))
    if timing.basis != basis:
        raise InputError(f"{folder} was segmented with other networks or settings: name another --out")
    with attempting(f"write to {folder}"), progress("segmenting", len(truths)) as bar:
        for truth in truths:
            target = folder / safe_name(truth.id, "a video")
            if truth.id not in timing.videos or not target.is_dir():
                found = segment(
                    truth,
                    network,
                    first_only,
                    short_side,
                    adapt,
                    lambda frames, video: corrupted(frames, corrupt, strength, video) if corrupt else frames,
                )
                with sealed_folder(target) as unfinished:
                    for name, mask in zip(found.names, found.masks, strict=True):
                        (unfinished / f"{name}.png").write_bytes(palette_png(mask))
                    timing = timing.with_video(truth.id, len(found.names), found.seconds)
                    write_timing(folder, timing)
            bar.advance(truth.id)
    return folder
