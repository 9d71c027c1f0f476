"""Devices to test against: the golden model, the compiled simulation, a board if there is one."""

import os

import firstspike
import pytest
from firstspike.firmware.config import Config, LayerConfig

#: Small enough for the simulation, uneven enough to find what depends on sizes.
CONFIG = Config(
    [
        LayerConfig(40, 13, 5, weight_bits=5, k=3, current_bits=12, membrane_bits=18, rows=33),
        LayerConfig(13, 6, 4, weight_bits=8, k=4, current_bits=14, membrane_bits=20),
    ],
    max_steps=48,
    buffer_bytes=512,
)


@pytest.fixture(scope="module", params=["model:", "sim:", "board"])
def target(request):
    """Arguments of :func:`firstspike.open` for a device; its configuration may be any."""
    if request.param != "board":
        return {"port": request.param, "config": CONFIG}
    port = os.environ.get("FIRSTSPIKE_PORT")
    if not port:
        pytest.skip("set FIRSTSPIKE_PORT to the serial port of a board to test it as well")
    baud = os.environ.get("FIRSTSPIKE_BAUD")
    return {"port": port} | ({"baud": int(baud)} if baud else {})


@pytest.fixture(scope="module")
def device(target):
    """An open device, which holds whatever the test before has left in it."""
    with firstspike.open(**target) as opened:
        yield opened
