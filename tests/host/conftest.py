"""Devices to test against, a board among them if there is one; and the command line."""

import json
import os

import firstspike
import pytest
from firstspike import cli
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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the test's own to run in, without an environment that changes errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FIRSTSPIKE_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command that must succeed; give what it printed, read if it is JSON."""

    def run_command(*arguments):
        code = cli.main(arguments)
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out) if "--json" in arguments else captured.out

    return run_command


@pytest.fixture
def fail(capsys):
    """Run a command that must fail; give its exit code and its one sentence."""

    def run_command(*arguments):
        try:
            code = cli.main(arguments)
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        lines = captured.err.strip().splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("firstspike")
        assert captured.out == ""
        return code, lines[0]

    return run_command
