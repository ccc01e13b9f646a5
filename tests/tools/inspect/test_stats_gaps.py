"""Statistics of imported videos whose labels leave numbers out."""

from pathlib import Path

import numpy as np
from PIL import Image

from tools.convert.importing import import_dataset
from tools.inspect.stats import measure
from vosforge.videos import ShardSet


def test_objects_are_counted_not_their_largest_label(tmp_path: Path) -> None:
    mask = np.repeat(np.array([0, 38, 75, 113], np.uint8), 8)[None].repeat(16, axis=0)
    for folder, image in (("frames", Image.new("RGB", (32, 16))), ("masks", Image.fromarray(mask))):
        (tmp_path / "source" / folder).mkdir(parents=True)
        image.save(tmp_path / "source" / folder / "00000.png")
    import_dataset(tmp_path / "source", tmp_path / "out", workers=1)
    (row,) = (shards := ShardSet(tmp_path / "out")).videos
    assert measure(shards.video(row.id))["objects"].tolist() == [3]
