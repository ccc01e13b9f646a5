"""A data set of sealed shards, for readers."""

from collections.abc import Iterator

from vosforge.errors import InputError
from vosforge.remote import Place, place
from vosforge.videos.format import VideoRow
from vosforge.videos.manifest import read_manifest
from vosforge.videos.reader import ShardVideo, shard_rows


class ShardSet:
    """The sealed videos of a data set's folder (or of one shard file), opened lazily, picklable.

    Either may be local or behind an fsspec URL; then a shard is fetched when one of its videos is first read.
    """

    def __init__(self, where: Place | str) -> None:
        """Read the manifest of the folder ``where``, or the rows of the one shard ``where``.

        Raises InputError when there is nothing to read.
        """
        path = place(where)
        if path.is_file():
            self._folder, rows = path.parent, shard_rows(path)
        else:
            self._folder, rows = path / "shards", list(read_manifest(path))
        # One object a shard, not a video: a remote one then asks once what version it is.
        self._shards: dict[str, Place] = {row.shard: self._folder / row.shard for row in rows}
        self.videos: tuple[VideoRow, ...] = tuple(row for row in rows if row.state == "sealed")
        self.quarantined: tuple[VideoRow, ...] = tuple(row for row in rows if row.state == "quarantined")
        self._rows = {row.id: row for row in reversed(self.videos)}  # of two with one id, the first counts

    def split(self, name: str) -> tuple[ShardVideo, ...]:
        """The videos of one split."""
        return tuple(ShardVideo(self._shards[row.shard], row) for row in self.videos if row.split == name)

    def video(self, video_id: str) -> ShardVideo:
        """The video with this id. Raises InputError with the ids there are."""
        row = self._rows.get(video_id)
        if row is not None:
            return ShardVideo(self._shards[row.shard], row)
        known = ", ".join(row.id for row in self.videos[:8]) + (", …" if len(self.videos) > 8 else "")
        raise InputError(f"there is no video '{video_id}' in {self._folder}; there are {known or 'none'}")

    def __iter__(self) -> Iterator[ShardVideo]:
        return (ShardVideo(self._shards[row.shard], row) for row in self.videos)
