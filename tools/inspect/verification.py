"""Verifies a data set or one shard, and queues bad videos for rendering again.

`vosforge.videos.verify` checks one video; here is which videos must exist, and where.
"""

import re
from collections import defaultdict, deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from blender_scenes.spec import SceneSpec, video_id
from render.farm.jobs import Dataset, DatasetConfig, begun_with, catalog_of
from render.farm.ledger import shard_members, shard_numbers
from render.farm.places import noted_reason
from tools.inspect.findings import Cure, Verification
from vosforge.config import explain, read_config
from vosforge.errors import InputError, MachineError, VOSForgeError
from vosforge.gates import GateLimits
from vosforge.guarded import Lost, guarded
from vosforge.processes import cores
from vosforge.progress import progress
from vosforge.trouble import trouble
from vosforge.videos import Place, VideoRow, read_manifest
from vosforge.videos.cache import local_copy
from vosforge.videos.format import shard_name
from vosforge.videos.manifest import MANIFEST, has_manifest
from vosforge.videos.verify import Listing, find_problem, list_videos

LISTING_SECONDS = 120.0
VIDEO_SECONDS, FRAME_SECONDS = 60.0, 1.0
"""Timeout of a video, plus an allowance for each frame."""
FETCHING_SECONDS = 3600.0
"""Extra allowance for remote files."""


@dataclass(frozen=True)
class _Check:
    """One video to check."""

    path: Place
    row: VideoRow
    decode: bool
    gates: bool
    limits: GateLimits


def verify_path(path: Place, quick: bool = False, repair: bool = False, workers: int | None = None) -> Verification:
    """Verify the data set's folder or the shard at ``path``, in ``workers`` processes (default: one a core).

    ``quick`` decodes nothing. ``repair`` puts bad videos back into the queue for rendering. Raises InputError when
    there is nothing to verify, or nothing that could be repaired.
    """
    if not repair:
        return _verify(path, quick, workers)
    if quick:
        raise InputError("--repair needs a full check to find every bad video: leave --quick out")
    if path.is_file():
        raise InputError(f"{path} is one shard: name its data set's folder to repair it")
    config = begun_with(path) if path.is_dir() else None
    if config is None:
        raise InputError(f"{path} has no dataset.yaml to render from: import the data again instead")
    dataset = Dataset(path, config, catalog_of(path))
    with dataset.writing():
        found = _verify(path, quick, workers)
        repair_dataset(dataset, found)
    return found


def repair_dataset(dataset: Dataset, found: Verification) -> None:
    """Take apart bad shards, set aside bad staged videos, and rebuild the manifest.

    A partly unreadable shard is left unchanged: its videos may be good.
    """
    root = dataset.root
    unread = {problem.file for problem in found.problems.values() if problem.cure == "manual"}
    requeued = {problem.file for problem in found.problems.values() if problem.cure == "requeue"} - unread
    for problem in found.problems.values():
        if problem.cure == "requeue" and problem.file.startswith("staging/"):
            dataset.discard(int(problem.video))
    bad: dict[str, set[str]] = defaultdict(set)
    for video, file in found.problems:
        bad[file].add(video)
    for shard in dataset.shards():
        path, members = root / "shards" / shard_name(shard), dataset.members(shard)
        if (file := _name(path, root)) in requeued:
            good = {*found.good.get(path, ())} - bad[file]
            reasons = found.quarantined.get(path, {})
            dataset.reopen(
                shard,
                [index for index in members if video_id(index) in good],
                {index: reasons[video_id(index)] for index in members if video_id(index) in reasons},
            )
    if any(file.startswith("shards/") for file in unread):
        found.leave_manifest()
    else:
        dataset.manifest(anew=True)
    found.repaired = True


def spec_problem(spec: str, row: VideoRow) -> str | None:
    """What is wrong with the spec (JSON) of the video of ``row``, or None."""
    try:
        scene = SceneSpec.model_validate_json(spec)
    except ValidationError as error:
        return f"its spec is not a valid scene ({explain(error, SceneSpec)})"
    settings = scene.render
    stated = (scene.video_id, scene.split, scene.attempt, settings.frames, settings.height, settings.width)
    if (*stated, len(scene.objects), settings.colors) != (
        *(row.id, row.split, row.attempt, row.num_frames, row.height, row.width),
        *(row.num_objects, row.colors),
    ):
        return "its spec is that of another video"
    return None


def _limits(limits: GateLimits, spec: str | None) -> GateLimits:
    """The limits of the video of a (valid) spec in a data set: its modules excuse what they cause on purpose."""
    return limits.without(SceneSpec.model_validate_json(spec).excuses) if spec is not None else limits


def _verify(path: Place, quick: bool, workers: int | None) -> Verification:
    root = path if path.is_dir() else path.parent.parent if path.parent.name == "shards" else None
    # A server that lists no folders has only copies: they are held against their manifest, not what is to be rendered.
    pinned = (
        root / "dataset.yaml" if root and (isinstance(root, Path) or root.scheme not in ("http", "https")) else None
    )
    config = read_config(DatasetConfig, local_copy(pinned)) if pinned and pinned.exists() else None
    # Staging first: what is packed meanwhile is then found among the shards.
    staged = _staged(path, config) if config and path.is_dir() else {}
    if isinstance(path, Path) and path.is_file() and path.suffix != ".h5":
        raise InputError(f"{path} is not a shard (shard-….h5): name a data set's folder, or a shard in it")
    shards: list[Place] = [path] if path.is_file() else sorted((path / "shards").glob("shard-*.h5"))
    if not shards and not config and not has_manifest(path):
        raise InputError(f"{path} is neither a data set nor a shard: name the output of render or import")
    found = Verification(path, config)
    names = {shard.name for shard in shards}
    unpacked = [file for file, shard in staged.items() if shard not in names]
    listed = _read(found, [*shards, *unpacked], root or path.parent, quick, workers)
    if root is None:
        return found
    manifest = _manifest(found, root) if shards or has_manifest(root) else None
    _find_members(found, root, shards, listed, manifest or {})
    if config and path.is_dir():
        _find_unrendered(found, path, config, names)
    if manifest is not None:
        _compare_manifest(found, manifest, set(shards) & listed, root)
    return found


def _staged(root: Place, config: DatasetConfig) -> dict[Place, str]:
    """The staged videos of a data set, in order, each with the name of the shard it belongs to."""
    files: list[Place] = sorted((root / "staging").glob("*.h5"))
    numbered: dict[Place, int] = {path: int(path.stem) for path in files if re.fullmatch(r"[0-9]{6,8}", path.stem)}
    return {
        path: shard_name(index // config.videos_per_shard)
        for path, index in numbered.items()
        if index < config.videos and path.stem == video_id(index)
    }


def _read(found: Verification, files: list[Place], root: Place, quick: bool, workers: int | None) -> set[Place]:
    """Read all files and the videos in them; returns those whose list of videos could be read."""
    gates = bool(found.config and found.config.scene.gates)
    limits = found.config.scene.gate_limits if found.config else GateLimits()
    tasks: deque[Place | _Check] = deque(files)
    listed: set[Place] = set()
    with progress("verifying", len(files)) as bar:
        for task, result in guarded(_work, tasks, workers or cores(), _patience):
            path = task.path if isinstance(task, _Check) else task
            file, staged, more = _name(path, root), path.parent.name == "staging", 0
            if staged and not path.exists():
                pass  # packed meanwhile
            elif isinstance(task, _Check):
                if result is None:
                    found.good.setdefault(path, []).append(task.row.id)
                    found.frames += task.row.num_frames
                elif isinstance(result, Lost):
                    found.add(task.row.id, file, f"it {result.why}", "manual")
                else:
                    found.add(task.row.id, file, str(result), "requeue" if _opens(path) else "manual")
            elif isinstance(result, Listing):
                listed.add(path)
                _note(found, path, file, result)
                tasks.extend(_Check(path, row, not quick, gates, limits) for row in result.rows.values())
                more = len(result.rows)
            elif isinstance(result, Lost):
                found.add(path.stem if staged else "", file, result.why, "manual")
            else:
                found.add(path.stem if staged else "", file, str(result), "requeue" if _opens(path) else "manual")
            bar.advance(path.stem, more=more)
    return listed


def _note(found: Verification, path: Place, file: str, listing: Listing) -> None:
    for video, what in listing.damaged.items():
        found.add(video, file, what, "requeue")
    if path.parent.name == "staging":
        if {*listing.rows, *listing.damaged} != {path.stem}:
            found.add(path.stem, file, "it does not hold exactly the video it is named after", "requeue")
    else:
        found.rows += listing.rows.values()
        if listing.quarantined:
            found.quarantined[path] = listing.quarantined


def _work(task: Place | _Check) -> Listing | Lost | str | None:
    """List a file or check a video, in an expendable process."""
    try:
        if isinstance(task, _Check):
            return find_problem(
                task.path, task.row, spec_problem, task.decode, task.gates, partial(_limits, task.limits)
            )
        return list_videos(task)
    except MachineError as error:
        return Lost(f"cannot be read here ({error.why}), which says nothing of its content")
    except VOSForgeError as error:
        return str(error).removeprefix(f"{task} ").removesuffix(": render it again")


def _patience(task: Place | _Check) -> float:
    path = task.path if isinstance(task, _Check) else task
    seconds = VIDEO_SECONDS + FRAME_SECONDS * task.row.num_frames if isinstance(task, _Check) else LISTING_SECONDS
    return seconds if isinstance(path, Path) else seconds + FETCHING_SECONDS


def _manifest(found: Verification, root: Place) -> dict[str, VideoRow] | None:
    """The manifest's rows by id; None, and a problem, when it cannot be read."""
    try:
        return {row.id: row for row in read_manifest(root)}
    except MachineError as error:
        found.add("", MANIFEST, f"cannot be read here ({error.why})", "manual")
        return None
    except (InputError, UnicodeDecodeError):
        what = "is damaged" if has_manifest(root) else "is missing"
        found.add("", MANIFEST, what, "manifest")
        return None


def _find_members(
    found: Verification, root: Place, shards: list[Place], listed: set[Place], manifest: dict[str, VideoRow]
) -> None:
    """Report videos missing from a shard, and those that do not belong in it."""
    held: dict[str, set[str]] = defaultdict(set)
    told: dict[str, set[str]] = defaultdict(set)
    told_by_manifest: dict[str, set[str]] = defaultdict(set)
    for row in found.rows:
        held[row.shard].add(row.id)
    for video, file in found.problems:
        told[file].add(video)
    for row in manifest.values():
        told_by_manifest[row.shard].add(row.id)
    for path in shards:
        file = _name(path, root)
        members = _members(found.config, path) if found.config else told_by_manifest[path.name]
        if members is None:
            found.add("", file, "it is not a shard of this data set", "manual")
        elif path in listed:
            known = held[path.name] | {*found.quarantined.get(path, ())} | told[file]
            for video in sorted(members - known):
                found.add(video, file, "it is missing from its shard", "requeue")
            if found.config is not None:
                for video in sorted(known - members):
                    found.add(video, file, "it does not belong to this shard", "requeue")
        elif members:
            whole = found.problems.pop(("", file))
            for video in sorted(members):
                found.add(video, file, f"its shard {whole.what}", whole.cure)


def _members(config: DatasetConfig, path: Place) -> set[str] | None:
    """The videos of the shard at ``path``; None when the data set has no such shard."""
    number = re.fullmatch(r"shard-([0-9]{5,8})\.h5", path.name)
    if number is None or int(number[1]) not in shard_numbers(config):
        return None
    return {video_id(index) for index in shard_members(config, int(number[1]))}


def _find_unrendered(found: Verification, root: Place, config: DatasetConfig, names: set[str]) -> None:
    """Report unstaged videos of unpacked shards, and unreadable quarantine notes."""
    there = {path.name for path in (root / "staging").glob("*")}
    for shard in shard_numbers(config):
        if shard_name(shard) in names:
            continue
        for video in map(video_id, shard_members(config, shard)):
            staged, note = root / "staging" / f"{video}.h5", root / "staging" / f"{video}.quarantined.json"
            if note.name in there:
                try:
                    found.quarantined[note] = {video: noted_reason(local_copy(note))}
                except (OSError, ValueError, TypeError, KeyError) as error:
                    cure: Cure = "requeue" if trouble(error) is None else "manual"
                    found.add(video, _name(note, root), "its quarantine note cannot be read", cure)
            elif staged.name not in there:
                found.add(video, "", "it is in no shard", "render")


def _compare_manifest(found: Verification, manifest: dict[str, VideoRow], listed: set[Place], root: Place) -> None:
    """Report videos whose manifest row disagrees with their shard, which is authoritative."""
    truth: dict[str, VideoRow] = {}
    for row in found.rows:
        if row.id in truth and found.config is None:
            found.add(row.id, f"shards/{row.shard}", f"it is also in {truth[row.id].shard}", "manual")
        truth[row.id] = row
    for path, videos in found.quarantined.items():
        if path in listed:
            for video, reason in videos.items():
                truth[video] = VideoRow(id=video, state="quarantined", reason=reason, shard=path.name)
    bad = {video for video, _ in found.problems}
    names = {path.name for path in listed}
    for video in sorted(truth.keys() - bad):
        if video not in manifest:
            found.add(video, MANIFEST, "it is missing from the manifest", "manifest")
        elif manifest[video] != truth[video]:
            found.add(video, MANIFEST, "the manifest disagrees with its shard", "manifest")
    for video in sorted(manifest.keys() - truth.keys() - bad):
        shard = root / "shards" / manifest[video].shard
        if shard.name in names or (found.path.is_dir() and not shard.exists()):
            cure: Cure = "manifest" if found.config else "requeue"
            found.add(video, MANIFEST, "it is in the manifest but in no shard", cure)


def _opens(path: Place) -> bool:
    """Whether the file is readable: an unreadable one may be intact and must be kept."""
    try:
        with local_copy(path).open("rb") as file:
            file.read(1)
    except (OSError, VOSForgeError):
        return False
    return True


def _name(path: Place, root: Place) -> str:
    return path.name if path.parent == root else f"{path.parent.name}/{path.name}"
