import errno
import os
from dataclasses import replace

import h5py
import pytest

from assets.settings import AssetSettings
from render.farm.jobs import Dataset
from tests.render.conftest import make_record
from vosforge import InputError
from vosforge.errors import MachineError
from vosforge.videos import ShardSet, read_manifest, stage_video


@pytest.fixture
def dataset(tmp_path, small_config, catalog):
    return Dataset(tmp_path / "data", small_config, catalog)


def test_shards_are_sealed_when_their_members_are_settled(dataset):
    assert dataset.missing() == list(range(7))
    with dataset.writing():
        for index in (0, 2, 3, 6):
            stage_video(dataset.staged_path(index), make_record(index))
        assert [path.name for path in dataset.pack()] == ["shard-00002.h5"]
        assert dataset.missing() == [1, 4, 5]
        dataset.quarantine(1, "Blender died")
        assert [path.name for path in dataset.pack()] == ["shard-00000.h5"]
        dataset.manifest()
    assert dataset.missing() == [4, 5]
    assert [(row.id, row.state) for row in read_manifest(dataset.root)] == [
        ("000000", "sealed"),
        ("000001", "quarantined"),
        ("000002", "sealed"),
        ("000006", "sealed"),
    ]
    assert sorted(path.name for path in (dataset.root / "staging").iterdir()) == ["000003.h5"]
    assert len(ShardSet(dataset.root).videos) == 3


def test_what_a_kill_after_sealing_left_is_removed(dataset):
    with dataset.writing():
        stage_video(dataset.staged_path(6), make_record(6))
        copy = dataset.staged_path(6).read_bytes()
        dataset.pack()
        dataset.staged_path(6).write_bytes(copy)
        assert dataset.pack() == []
        assert not dataset.staged_path(6).exists()


def test_what_rendered_a_data_set_is_read_from_its_first_video(dataset):
    assert dataset.renderer() is None
    said = {3: None, 4: "staged", 5: "later"}
    for index, renderer in said.items():
        record = make_record(index)
        attributes = {**record.attributes, "renderer": renderer} if renderer else record.attributes
        stage_video(dataset.staged_path(index), replace(record, attributes=attributes))
    assert dataset.renderer() is None, "an older VOSForge did not say"
    dataset.discard(3)
    assert dataset.renderer() == "staged"
    record = make_record(6)
    stage_video(dataset.staged_path(6), replace(record, attributes={"attempt": 1, "renderer": "packed"}))
    dataset.pack()
    assert dataset.renderer() == "packed"


def test_a_second_writer_is_refused(dataset, small_config, catalog):
    with dataset.writing():
        other = Dataset(dataset.root, small_config, catalog)
        with pytest.raises(InputError, match="another process"), other.writing():
            pass
    with dataset.writing():
        pass


def test_unfinished_files_are_swept_by_the_next_writer(dataset):
    leftover = dataset.root / "staging" / ".writing-abc.h5"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    with dataset.writing():
        assert not leftover.exists()


def test_other_settings_and_other_assets_are_refused(dataset, small_config, catalog):
    Dataset(dataset.root, small_config, catalog)
    with pytest.raises(InputError, match="seed = 1, not 2"):
        Dataset(dataset.root, small_config.model_copy(update={"seed": 2}), catalog)
    meshes = small_config.model_copy(update={"assets": AssetSettings(num_meshes=5)})
    with pytest.raises(InputError, match=r"assets.num_meshes = 100, not 5"):
        Dataset(dataset.root, meshes, catalog)
    fewer = catalog.model_copy(update={"assets": catalog.assets[1:]})
    with pytest.raises(InputError, match="other assets"):
        Dataset(dataset.root, small_config, fewer)


def test_held_out_videos_share_no_asset_with_training_ones(dataset):
    used = {"train": set(), "val": set()}
    for index in range(60):
        spec = dataset.spec(index)
        assert spec.split == ("val" if index % 3 == 2 else "train")
        for item in spec.objects:
            used[spec.split] |= {item.mesh, *dataset.catalog.by_hash(item.mesh).textures}
            used[spec.split] |= {item.texture} - {None}
        used[spec.split] |= {plane.texture for plane in (spec.backdrop, spec.ground) if plane} | {spec.world.hdri}
    assert used["train"]
    assert used["val"]
    assert not used["train"] & used["val"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN])
@pytest.mark.parametrize("step", ["pack", "manifest", "quarantine", "discard"])
def test_a_folder_that_cannot_be_written_to_is_one_sentence_and_loses_nothing(dataset, monkeypatch, number, step):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    for index in (0, 1, 2):
        stage_video(dataset.staged_path(index), make_record(index))
    staged = sorted((dataset.root / "staging").iterdir())
    with monkeypatch.context() as patch:
        for name in ("mkstemp", "mkdtemp"):
            patch.setattr(f"vosforge.files.tempfile.{name}", refuse)
        patch.setattr("pathlib.Path.rename", refuse)
        arguments = {"quarantine": (3, "it broke"), "discard": (0,)}.get(step, ())
        with pytest.raises(MachineError, match=rf"cannot write to .*{os.strerror(number)}"):
            getattr(dataset, step)(*arguments)
    assert sorted((dataset.root / "staging").iterdir()) == staged
    dataset.pack()
    assert dataset.missing() == [3, 4, 5, 6]


def test_a_share_that_went_away_is_not_written_to_where_it_was(dataset):
    stage_video(dataset.staged_path(6), make_record(6))
    elsewhere = dataset.root.rename(dataset.root.with_name("elsewhere"))
    dataset.root.mkdir()  # as an empty mount point
    for step in (dataset.pack, dataset.manifest, lambda: dataset.quarantine(3, "it broke")):
        with pytest.raises(MachineError, match="No such file"):
            step()
    assert not any(dataset.root.iterdir())
    assert len(list((elsewhere / "staging").iterdir())) == 1


def quarantined_dataset(dataset):
    """Videos 1, 2 and 5 are quarantined: two in a sealed shard, one in an open one."""
    with dataset.writing():
        stage_video(dataset.staged_path(0), make_record(0))
        for index in (1, 2, 5):
            dataset.quarantine(index, "it broke")
        dataset.pack()
        dataset.manifest()


def test_quarantined_videos_are_taken_up_again_and_their_shard_is_made_anew_at_once(dataset, small_config, catalog):
    quarantined_dataset(dataset)
    assert dataset.missing() == [3, 4, 6]
    before = dataset.shard_path(0).read_bytes()
    with dataset.writing():
        dataset.retry_quarantined()
        assert dataset.missing() == [1, 2, 3, 4, 5, 6]
        stage_video(dataset.staged_path(1), make_record(1))
        assert dataset.pack() == []
        assert dataset.shard_path(0).read_bytes() == before
        dataset.quarantine(2, "it broke again")
        assert dataset.pack() == [dataset.shard_path(0)]
        dataset.manifest()
    shards = ShardSet(dataset.root)
    assert [row.id for row in shards.videos] == ["000000", "000001"]
    assert {row.id: row.reason for row in shards.quarantined} == {"000002": "it broke again"}
    for video in shards:
        video.verify()
    assert not list((dataset.root / "staging").iterdir())
    assert Dataset(dataset.root, small_config, catalog).missing() == [3, 4, 5, 6]


def test_a_retry_that_was_killed_keeps_what_it_rendered(dataset, small_config, catalog):
    quarantined_dataset(dataset)
    with dataset.writing():
        dataset.retry_quarantined()
        stage_video(dataset.staged_path(2), make_record(2))
    again = Dataset(dataset.root, small_config, catalog)
    with again.writing():
        again.pack()
        again.manifest()
    assert [(row.id, row.state) for row in read_manifest(dataset.root)] == [
        ("000000", "sealed"),
        ("000001", "quarantined"),
        ("000002", "sealed"),
    ]


def test_a_retried_shard_is_as_one_that_was_never_short(dataset, tmp_path, small_config, catalog):
    whole = Dataset(tmp_path / "whole", small_config, catalog)
    quarantined_dataset(dataset)
    dataset.retry_quarantined()
    for index in (1, 2):
        stage_video(dataset.staged_path(index), make_record(index))
    for index in (0, 1, 2):
        stage_video(whole.staged_path(index), make_record(index))
    dataset.pack()
    whole.pack()
    with h5py.File(dataset.shard_path(0)) as one, h5py.File(whole.shard_path(0)) as other:
        assert dict(one.attrs) == dict(other.attrs)
        assert [*one["videos"]] == [*other["videos"]]


def test_a_retry_that_fails_leaves_the_shard_as_it_is(dataset):
    quarantined_dataset(dataset)
    before = dataset.shard_path(0).read_bytes()
    dataset.retry_quarantined()
    for index in (1, 2):
        dataset.quarantine(index, "it broke")
    assert dataset.pack() == []
    assert dataset.shard_path(0).read_bytes() == before
    assert dataset.missing() == [3, 4, 5, 6]
