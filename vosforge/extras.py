"""Optional dependencies: a missing package is one sentence that names the extra to install."""

from collections.abc import Iterator
from contextlib import contextmanager

from vosforge.errors import VOSForgeError


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Wrap the imports that the extra ``name`` of `pyproject.toml` installs; raises VOSForgeError if one fails.

    ``purpose`` begins the sentence, for example "drawing charts needs matplotlib".
    """
    try:
        yield
    except ImportError as error:
        raise VOSForgeError(f"{purpose} ({error}): pip install 'vosforge[{name}]'") from error
