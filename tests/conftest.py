from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data():
    """Folder of the golden files."""
    return Path(__file__).parent / "data"
