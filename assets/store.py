"""The content-addressed store of prepared assets: a folder that all worker processes share.

A file's name is the hash of its content: it is written once, atomically, and never changes.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import ValidationError

from assets.catalog import Asset, AssetKind, Catalog
from assets.prepared import Material, PreparedMesh
from vosforge.errors import InputError, MachineError, VOSForgeError
from vosforge.files import cache_dir, sealed_file, write_sealed
from vosforge.progress import progress
from vosforge.remote import RemotePath
from vosforge.trouble import attempting, unread

IMAGE_SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".tif", ".tga")
CONVERTED_SUFFIXES = (".gif", ".avif", ".jp2", ".j2k", ".jpc", ".jpx")
"""Kinds of images that are kept as PNGs."""
OTHER_NAMES = {".jpeg": ".jpg", ".jpe": ".jpg", ".tiff": ".tif"}
READ_IMAGES = (*IMAGE_SUFFIXES, *OTHER_NAMES, *CONVERTED_SUFFIXES)
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
HDRI_SUFFIXES = (".exr", ".hdr")
PLACES: dict[AssetKind, tuple[str, tuple[str, ...]]] = {
    "mesh": ("meshes", (".npz",)),
    "texture": ("images", IMAGE_SUFFIXES),
    "hdri": ("hdris", HDRI_SUFFIXES),
}
"""The folder and the suffixes of each kind of file."""
PREPARE_AGAIN = "prepare the assets again, for example by rendering into another folder with the same assets"


UPLOADS = 16
"""So many at once."""
ASSETS = "assets"
"""The folder of assets in a data set on a store."""


class MissingAssetError(MachineError):
    """The store lacks an asset; the catalog tells which one."""

    def __init__(self, sentence: str, content: str) -> None:
        super().__init__(sentence, f"{content} is not in the asset store")
        self.content = content


def bytes_hash(data: bytes) -> str:
    """The content hash of a file: the first 32 hex digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:32]


def _contents(asset: Asset) -> list[tuple[AssetKind, str]]:
    """The kinds and hashes of an asset's files."""
    return [(asset.kind, asset.hash), *(("texture", content) for content in asset.textures)]


DAMAGED = (EOFError, KeyError, TypeError, ValueError, ValidationError, zipfile.BadZipFile)
"""What reading a damaged mesh raises."""


def _content_of(path: Path, data: bytes) -> str:
    """The content hash of a file of the store; "" for a damaged mesh."""
    if path.suffix != ".npz":
        return bytes_hash(data)
    try:
        return _read_mesh(io.BytesIO(data)).content_hash()
    except DAMAGED:
        return ""


def _read_mesh(file: Path | IO[bytes]) -> PreparedMesh:
    with np.load(file, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    materials = json.loads(arrays.pop("materials").tobytes())
    return PreparedMesh(
        **({"corner_uv": None, "corner_color": None} | arrays),
        materials=tuple(Material.model_validate(each) for each in materials),
    )


def array_hash(array: np.ndarray) -> str:
    """The content hash of an array of float32 or float64: its shape and its bytes."""
    little = _little(array)
    return bytes_hash(f"{little.shape}".encode() + little.tobytes())


def _little(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, "<f4" if array.dtype == np.float32 else "<f8")


def _as_png(image: Image.Image) -> bytes:
    """An image's first picture as an 8-bit PNG."""
    if image.mode in EIGHT_BITS:
        alpha = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        image = image.convert("RGBA" if alpha else "RGB")
    else:
        numbers = np.asarray(image, np.float64)
        most = 65535.0 if image.mode.startswith("I") else 1.0  # whole numbers of 16 bits, or parts of 1
        image = Image.fromarray(np.rint((numbers / most).clip(0, 1) * 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class AssetStore:
    """Prepared meshes, images and HDRIs under ``root``, each found by its content hash.

    Safe to share between processes and to pickle. What is read is checked against its hash (files once per
    process), so a damaged file is named instead of rendered.
    """

    def __init__(self, root: Path | None = None) -> None:
        """Open the store at ``root`` (created when missing); by default the user's cache."""
        self.root = Path(root) if root is not None else cache_dir() / "store"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot create the asset store {self.root} ({error.strerror}): name another folder in VOSFORGE_CACHE"
            ) from None
        self._checked: set[Path] = set()
        self._held: dict[str, PreparedMesh] = {}

    def put_mesh(self, mesh: PreparedMesh) -> str:
        """Store ``mesh`` and return its content hash."""
        content = mesh.content_hash()
        buffer = io.BytesIO()
        materials = np.frombuffer(mesh.materials_json().encode(), np.uint8)
        np.savez(buffer, materials=materials, **mesh.arrays())
        self._put(self._path("meshes", content, ".npz"), buffer.getvalue())
        return content

    def hold_mesh(self, mesh: PreparedMesh) -> str:
        """Have ``mesh`` in this store object only, without writing it, and return its content hash."""
        content = mesh.content_hash()
        self._held[content] = mesh
        return content

    def mesh(self, content: str) -> PreparedMesh:
        """The mesh with this content hash. Raises VOSForgeError when it is missing or damaged."""
        if content in self._held:
            return self._held[content]
        path = self._path("meshes", content, ".npz")
        try:
            mesh = _read_mesh(path)
        except FileNotFoundError:
            raise self._missing("mesh", content) from None
        except (OSError, *DAMAGED) as error:
            raise unread(path, error, self._damaged(path)) from None
        if mesh.content_hash() != content:
            raise self._damaged(path)
        return mesh

    def has_mesh(self, content: str) -> bool:
        """Whether there is a mesh with this content hash."""
        return content in self._held or self._path("meshes", content, ".npz").is_file()

    def put_array(self, array: np.ndarray) -> str:
        """Store an array of float32 or float64 and return its content hash."""
        content = array_hash(array)
        buffer = io.BytesIO()
        np.save(buffer, _little(array))
        self._put(self._path("arrays", content, ".npy"), buffer.getvalue())
        return content

    def has_array(self, content: str) -> bool:
        """Whether there is an array with this content hash."""
        return self._path("arrays", content, ".npy").is_file()

    def array(self, content: str) -> np.ndarray:
        """The array with this content hash. Raises VOSForgeError when it is missing or damaged."""
        path = self._path("arrays", content, ".npy")
        try:
            array: np.ndarray = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise MissingAssetError(
                f"the simulated motion {content} is not in the asset store {self.root}: "
                "put it there from the video's shard (ShardVideo.baked), or draw the scene again",
                content,
            ) from None
        except (OSError, EOFError, ValueError) as error:
            raise unread(path, error, self._damaged(path)) from None
        if array_hash(array) != content:
            raise self._damaged(path)
        return array

    def put_image(self, data: bytes, suffix: str) -> str:
        """Store an encoded image and return its content hash.

        Its bytes stay as they are, except that kinds Blender reads badly or not at all (`CONVERTED_SUFFIXES`), and grey
        of more than 8 bits, become 8-bit PNGs; of several pictures, as in a GIF, the first. Raises InputError for a
        unsupported kind of image and for damaged bytes.
        """
        suffix = OTHER_NAMES.get(suffix.lower(), suffix.lower())
        if suffix not in READ_IMAGES:
            raise InputError(f"'{suffix}' images are not supported: convert them to PNG or JPEG")
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                if suffix in CONVERTED_SUFFIXES or image.mode not in EIGHT_BITS:
                    data, suffix = _as_png(image), ".png"
        except UnidentifiedImageError:
            raise InputError(f"a {suffix} file is damaged or not an image: replace it or leave it out") from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"a {suffix} image cannot be read ({error}): replace it or leave it out") from None
        content = bytes_hash(data)
        self._put(self._path("images", content, suffix), data)
        return content

    def image_path(self, content: str) -> Path:
        """The file of the image with this content hash. Raises VOSForgeError when it is missing or damaged."""
        return self._file("images", "image", content, IMAGE_SUFFIXES)

    def put_hdri(self, path: Path) -> str:
        """Store a copy of the HDRI file ``path`` (EXR or HDR) and return its content hash."""
        suffix = path.suffix.lower()
        if suffix not in HDRI_SUFFIXES:
            raise InputError(f"{path} is not a supported HDRI: give an .exr or .hdr file")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise unread(path, error, InputError(f"cannot read the HDRI {path}: {error.strerror}")) from None
        if not data.startswith((b"\x76\x2f\x31\x01", b"#?RADIANCE", b"#?RGBE")):
            raise InputError(f"{path} is not an {suffix[1:].upper()} image: replace it or leave it out")
        content = bytes_hash(data)
        self._put(self._path("hdris", content, suffix), data)
        return content

    def hdri_path(self, content: str) -> Path:
        """The file of the HDRI with this content hash. Raises VOSForgeError when it is missing or damaged."""
        return self._file("hdris", "HDRI", content, HDRI_SUFFIXES)

    def fetch(self, wanted: Iterable[Asset], source: RemotePath) -> None:
        """Get the files of assets that are not here from the store of assets at ``source``, where it has them."""
        for kind, content in (each for asset in wanted for each in _contents(asset)):
            folder, suffixes = PLACES[kind]
            if self._find(folder, suffixes, content) is not None:
                continue
            paths = [self._path(folder, content, suffix) for suffix in suffixes]
            path = next((path for path in paths if self._at(source, path).exists()), None)
            if path is not None:
                with attempting(f"write to {path.parent}"), sealed_file(path) as copy:
                    self._at(source, path).download(copy)

    def publish(self, catalog: Catalog, target: RemotePath) -> None:
        """Put the files of a catalog's assets into the store at ``target``, those that it does not have.

        Files that are not here are left out: whoever needs one says so.
        """
        files = {path for asset in catalog.assets for path in self._files(asset) if path}
        folders = {self._at(target, path.parent) for path in files}
        with ThreadPoolExecutor(UPLOADS) as pool:
            there = {name for names in pool.map(RemotePath.names, folders) for name in names}
            missing = sorted(path for path in files if path.name not in there)
            with progress("uploading assets", len(missing)) as bar:
                for _ in pool.map(lambda path: self._at(target, path).upload(path), missing):
                    bar.advance()

    def holds(self, asset: Asset) -> bool:
        """Whether all files of ``asset`` are there."""
        return None not in self._files(asset)

    def packed(self, asset: Asset) -> dict[str, bytes]:
        """The files of ``asset``, which must be there, by their paths below the root."""
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self._files(asset) if path}

    def unpack(self, asset: Asset, files: Mapping[str, bytes]) -> None:
        """Store what another store `packed`. Raises MachineError unless that is all files of ``asset``, each whole."""
        kinds = {asset.hash: PLACES[asset.kind], **dict.fromkeys(asset.textures, PLACES["texture"])}
        paths = {self.root / name: data for name, data in files.items()}
        for path, data in paths.items():
            folder, suffixes = kinds.get(path.stem, ("", ()))
            known = path.suffix in suffixes and path == self._path(folder, path.stem, path.suffix)
            if not known or _content_of(path, data) != path.stem:
                raise MachineError(
                    f"the file {path.name} of {asset.source} arrived damaged: run the same command again"
                )
        for path, data in paths.items():
            self._put(path, data)
        if not self.holds(asset):
            raise MachineError(f"a file of {asset.source} did not arrive: run the same command again")

    def _files(self, asset: Asset) -> list[Path | None]:
        """The file of each content of ``asset``; None for one that is missing."""
        return [self._find(*PLACES[kind], content) for kind, content in _contents(asset)]

    def _at(self, source: RemotePath, path: Path) -> RemotePath:
        """Where the store of assets at ``source`` keeps what is at ``path`` here."""
        for name in path.relative_to(self.root).parts:
            source = source / name
        return source

    def _find(self, folder: str, suffixes: tuple[str, ...], content: str) -> Path | None:
        paths = (self._path(folder, content, suffix) for suffix in suffixes)
        return next((path for path in paths if path.is_file()), None)

    def _path(self, folder: str, content: str, suffix: str) -> Path:
        return self.root / folder / content[:2] / f"{content}{suffix}"

    def _put(self, path: Path, data: bytes) -> None:
        # Comparing costs little and mends a damaged file when its asset is prepared again.
        if not (path.exists() and path.read_bytes() == data):
            write_sealed(path, data)
        self._checked.add(path)

    def _file(self, folder: str, kind: str, content: str, suffixes: tuple[str, ...]) -> Path:
        for suffix in suffixes:
            path = self._path(folder, content, suffix)
            if path in self._checked:
                return path
            if path.is_file():
                if bytes_hash(path.read_bytes()) != content:
                    raise self._damaged(path)
                self._checked.add(path)
                return path
        raise self._missing(kind, content)

    def _missing(self, kind: str, content: str) -> "MissingAssetError":
        return MissingAssetError(
            f"the {kind} {content} is not in the asset store {self.root}: {PREPARE_AGAIN}", content
        )

    def _damaged(self, path: Path) -> VOSForgeError:
        return VOSForgeError(f"{path} is damaged (it does not match its hash): delete it and {PREPARE_AGAIN}")
