"""The board under test: the one on $FIRSTSPIKE_PORT, and a virtual one on a pseudo-terminal.

The virtual board shows that the tests themselves work; to the code under test it is a serial port
like any other.
"""

import os

import firstspike
import pytest
from firstspike.firmware.config import Config, LayerConfig
from firstspike.sim.pty import PseudoTerminal
from firstspike.transport import open_virtual

#: Holds the network of the digits, with a first layer wider than it needs.
CONFIG = Config(
    [
        LayerConfig(64, 40, 7, k=4, current_bits=16, membrane_bits=20),
        LayerConfig(40, 10, 10, k=4, current_bits=16, membrane_bits=20),
    ],
    max_steps=64,
    buffer_bytes=1024,
)


@pytest.fixture(scope="module", params=["virtual", "board"])
def port(request):
    """Arguments of :func:`firstspike.open`."""
    if request.param == "board":
        name = os.environ.get("FIRSTSPIKE_PORT")
        if not name:
            pytest.skip("set FIRSTSPIKE_PORT to the serial port of a board to test it as well")
        baud = os.environ.get("FIRSTSPIKE_BAUD")
        yield {"port": name} | ({"baud": int(baud)} if baud else {})
        return
    with pytest.MonkeyPatch.context() as patch:
        # A busy machine may serve it late, which is no fault of the line.
        patch.setattr("firstspike.connection._PATIENCE", 60.0)
        with PseudoTerminal(open_virtual("model:", CONFIG)) as terminal:
            yield {"port": terminal.path}


@pytest.fixture
def device(port):
    """The board, open."""
    with firstspike.open(**port) as opened:
        yield opened
