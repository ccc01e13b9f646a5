import json
import struct
from pathlib import Path

import pytest

from assets.references import check_references
from vosforge.errors import InputError


def gltf(path: Path, **parts: object) -> Path:
    document = json.dumps({"asset": {"version": "2.0"}, **parts}).encode()
    if path.suffix == ".glb":
        document = struct.pack("<4sIIII", b"glTF", 2, 20 + len(document), len(document), 0x4E4F534A) + document
    path.write_bytes(document)
    return path


@pytest.mark.parametrize("suffix", [".gltf", ".glb"])
@pytest.mark.parametrize(
    "uri", ["https://example.org/a.bin", "file:///etc/passwd", "../a.bin", "/etc/passwd", "%2e%2e/a"]
)
@pytest.mark.parametrize("key", ["buffers", "images"])
def test_a_gltf_may_refer_to_nothing_outside_its_folder(tmp_path: Path, suffix: str, uri: str, key: str) -> None:
    path = gltf(tmp_path / f"model{suffix}", **{key: [{"uri": uri}]})
    with pytest.raises(InputError, match=r"model\.gl.* outside its folder: this is unsafe"):
        check_references(path)


def test_what_lies_beside_or_inside_a_gltf_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a b.bin").write_bytes(b"x")
    buffers = [{"uri": "a%20b.bin"}, {"uri": "data:application/octet-stream;base64,AAAA"}, {"byteLength": 3}]
    check_references(gltf(tmp_path / "model.gltf", buffers=buffers, images=[{"uri": "missing.png"}]))
    with pytest.raises(InputError, match=r"'none.bin', which is missing"):
        check_references(gltf(tmp_path / "model.gltf", buffers=[{"uri": "none.bin"}]))


@pytest.mark.parametrize("content", [b"", b"junk", b"[1]", b'{"scene": 0}', b"\xff\xfe\x00", b"[" * 100_000])
@pytest.mark.parametrize("suffix", [".gltf", ".glb"])
def test_a_broken_gltf_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.gl.* is not a glTF file"):
        check_references(path)


@pytest.mark.parametrize("target", ["../other.usda", "/etc/passwd", "https://example.org/a.usda"])
def test_a_usd_text_file_may_refer_to_nothing_outside_its_folder(tmp_path: Path, target: str) -> None:
    path = tmp_path / "model.usda"
    path.write_text(f'#usda 1.0\ndef "a" (\n    references = @{target}@\n)\n{{\n}}\n')
    with pytest.raises(InputError, match="outside its folder"):
        check_references(path)
    path.write_text('#usda 1.0\ndef "a"\n{\n    asset inputs:file = @./textures/skin.png@\n}\n')
    check_references(path)


def test_what_the_users_folder_holds_is_not_outside(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    path = gltf(tmp_path / "models" / "model.gltf", images=[{"uri": "../images/a.png"}])
    check_references(path, tmp_path)
    with pytest.raises(InputError, match="outside its folder"):
        check_references(path, tmp_path / "models")
