import pytest

from assets.catalog import Asset, Catalog


@pytest.fixture(scope="session")
def paper_catalog() -> Catalog:
    """A catalog of names only: enough to draw scenes from."""
    kinds = [("mesh", 12), ("texture", 8), ("hdri", 4)]
    return Catalog.of(
        Asset(
            hash=f"{number:030x}{place:02x}",
            kind=kind,
            name=f"{kind} {number}",
            category=kind,
            source=f"test/{kind}/{number}",
            licence="CC0-1.0",
            creator="test",
        )
        for place, (kind, count) in enumerate(kinds)
        for number in range(count)
    )
