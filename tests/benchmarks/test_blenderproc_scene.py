import sys
from pathlib import Path

import pytest

from benchmarks.blenderproc_scene import check_environment


@pytest.mark.parametrize("python", [Path(sys.executable), Path("no-python")])
def test_where_blenderproc_is_missing_it_says_how_to_get_it(python):
    with pytest.raises(SystemExit, match=r"has no BlenderProc: .* blenderproc==2\.8\.0 bpy==4\.2\.0 .*--python VENV"):
        check_environment(python)
