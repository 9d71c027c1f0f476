"""What every proof needs."""

import pytest
from firstspike.boards.tools import find


@pytest.fixture(scope="session", autouse=True)
def yosys():
    """Ready to run several times at once."""
    find("yosys").prepare()
