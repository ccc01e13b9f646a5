"""How a shard of a data set is sealed. Touches one shard, whatever the others are."""

from collections.abc import Collection

from blender_scenes.spec import video_id
from render.farm.places import Places, noted_reason
from vosforge.videos import VideoRow, pack_shard
from vosforge.videos.reader import shard_rows


def seal_shard(
    places: Places, shard: int, members: Collection[int], retried: Collection[int] = ()
) -> list[VideoRow] | None:
    """Seal ``shard`` if all its ``members`` are settled, and remove their staged copies; returns its rows.

    ``retried``: those of its members that are quarantined in it and rendered again; a sealed shard is made anew when
    all of them are settled and one is staged. Empty: it is as it was; None: it waits for more videos. Raises
    MachineError when the folder cannot be written to.
    """
    with places.writing():
        path = places.shard(shard)
        sealed = places.has(path)
        settled = [index for index in members if places.settled(index)]
        if not settled or not set(retried if sealed else members) <= set(settled):
            return None
        rows = shard_rows(places.obtain(path)) if sealed else []
        there = {row.id for row in rows if row.state == "sealed"}
        reasons = {row.id: row.reason or "" for row in rows if row.state == "quarantined"}
        fresh = [index for index in settled if video_id(index) not in there]
        staged = {index: places.staged(index) for index in fresh if places.has(places.staged(index))}
        for index in settled:
            if index in staged:
                reasons.pop(video_id(index), None)
            elif places.has(note := places.note(index)):
                reasons[video_id(index)] = noted_reason(places.obtain(note))
        new = bool(staged) or not sealed
        if new:
            sources = [*map(places.obtain, staged.values())]
            pack_shard(places.shards, shard, [path, *sources] if sealed else sources, reasons)
            rows = shard_rows(path)
            places.publish(path)
        # Also what a kill between sealing and removing left behind.
        places.remove(*map(places.staged, settled), *map(places.note, settled))
        return rows if new else []
