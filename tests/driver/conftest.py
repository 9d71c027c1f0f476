"""Drivers to test, each with a virtual board of its own."""

import contextlib
from pathlib import Path

import pytest
from c_driver import HERE, SOURCES, Driver, compile_c
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard
from small_learner import CONFIG


@pytest.fixture(scope="session")
def program(tmp_path_factory) -> Path:
    """``driver.c`` with the driver, compiled."""
    return compile_c(tmp_path_factory.mktemp("driver") / "driver", HERE / "driver.c", *SOURCES)


@pytest.fixture
def open_driver(program):
    """Makes drivers, connected to a board of ``CONFIG`` or another one, perhaps by a bad cable."""
    with contextlib.ExitStack() as stack:

        def open_one(backend=None, cable=lambda board: board, latency=0.0, connect=True):
            board = VirtualBoard(backend or ModelBackend(CONFIG), baud=3_000_000, latency=latency)
            stack.callback(board.close)
            driver = stack.enter_context(Driver(program, cable(board)))
            if connect:
                driver.connect()
            return driver

        yield open_one
