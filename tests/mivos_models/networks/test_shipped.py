"""The shipped networks are found beside the code, or missed in one sentence."""

from pathlib import Path

import pytest

from mivos_models import shipped_networks
from mivos_models.networks import shipped
from vosforge import InputError


def test_they_are_in_the_folder_that_the_wheel_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(shipped.__file__).parents[1] / "weights" == shipped._FOLDER
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    for kind in ("s2m", "propagation", "fusion"):
        with pytest.raises(InputError, match=f"the shipped networks are missing here .*{kind}.pth"):
            shipped_networks()
        (tmp_path / f"{kind}.pth").touch()
    assert shipped_networks() == tmp_path
