"""Real ports: pseudo-terminals, sockets, what is absent, busy, unplugged or something else."""

import contextlib
import errno
import grp
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from dataclasses import replace

import firstspike
import numpy as np
import pytest
import serial
import serial.rfc2217
from counted import Counted
from firstspike.firmware.config import Config
from firstspike.firmware.errors import (
    ConfigurationMismatch,
    DataError,
    DeviceLost,
    LinkError,
    NoReply,
    PortError,
)
from firstspike.firmware.framing import FrameDecoder
from firstspike.sim import fast
from firstspike.sim.pty import PseudoTerminal
from firstspike.sim.random_networks import random_case
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard
from firstspike.transport import SerialTransport, open_virtual

CASE = random_case(31, batch=500)
EXPECTED = fast.infer(CASE.network, CASE.samples)
MANY = np.tile(CASE.samples, (10, 1))


def board(config=CASE.config):
    return open_virtual("model:", config)


def check(result, expected=EXPECTED):
    for name in ("label", "step", "fired", "rows"):
        ours, theirs = getattr(expected, name), getattr(result, name)
        assert (np.resize(ours, theirs.shape) == theirs).all(), name


def test_a_board_on_a_terminal_serves_one_program_after_the_other():
    with PseudoTerminal(board()) as terminal:
        for _ in range(2):
            with firstspike.open(terminal.path) as device:
                device.load(CASE.network)
                check(device.infer(CASE.samples))


class Heard:
    """A board, and the first sequence number that each program sends it."""

    def __init__(self):
        self.board = board()
        self.decoder = FrameDecoder()
        self.first = None

    def write(self, data):
        for frame in self.decoder.feed(data):
            self.first = frame.seq if self.first is None else self.first
        self.board.write(data)

    def read(self, timeout):
        return self.board.read(timeout)

    def close(self):
        self.board.close()


def test_each_program_counts_from_another_number():
    heard, seen = Heard(), set()
    with PseudoTerminal(heard) as terminal:
        for _ in range(6):
            heard.first = None
            with firstspike.open(terminal.path):
                seen.add(heard.first)
    assert len(seen) > 1


def test_on_a_virtual_board_runs_are_the_same():
    seen = []
    for _ in range(2):
        heard = Heard()
        with firstspike.open("model:", config=CASE.config, line=lambda _, heard=heard: heard):
            seen.append(heard.first)
    assert seen == [0, 0]


def test_a_port_in_use():
    with (
        PseudoTerminal(board()) as terminal,
        firstspike.open(terminal.path),
        pytest.raises(PortError, match="is in use by another program"),
    ):
        firstspike.open(terminal.path)


@pytest.mark.parametrize(
    ("port", "sentence"),
    [
        ("/dev/ttyFIRSTSPIKE", "^there is no port /dev/ttyFIRSTSPIKE; "),
        ("/dev/null", "^/dev/null is no serial port; "),
        ("/tmp", "^/tmp is no serial port; "),
        ("", "^there is no port ; "),
        ("foo://bar", r"^foo://bar cannot be opened .*protocol 'foo' not known"),
        ("socket://localhost:1", r"^socket://localhost:1 cannot be opened \(Connection refused\)"),
        ("socket://localhost", "^socket://localhost cannot be opened"),
        ("rfc2217://localhost:1", r"cannot be opened \(Connection refused\)"),
        ("model", r"^there is no port model \(did you mean model:\?\); give one of .*model:, sim:"),
        ("sims:", r"^there is no port sims: \(did you mean sim:\?\); give one of "),
    ],
)
def test_a_port_that_cannot_be_opened(port, sentence):
    with pytest.raises(PortError, match=sentence):
        firstspike.open(port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
def test_a_port_without_permission():
    script = (
        "import os, sys; from firstspike.transport import SerialTransport\n"
        "import serial, serial.tools.list_ports\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "SerialTransport(sys.argv[1])"
    )
    with PseudoTerminal(board()) as terminal:
        os.chmod(terminal.path, 0o600)
        result = subprocess.run(
            [sys.executable, "-c", script, terminal.path],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "may not be used by this account; join the group" in result.stderr
    assert "usermod -aG" in result.stderr


@pytest.mark.parametrize("baud", [-1, 0, 50_000_000])
def test_baud_rates_out_of_range(baud):
    with pytest.raises(DataError, match="the range is 1 to 12000000"):
        SerialTransport("/dev/null", baud)


def test_a_device_of_another_configuration():
    other = Config(CASE.config.layers, CASE.config.max_steps, 1 << 16)
    with PseudoTerminal(board(other)) as terminal:
        with pytest.raises(ConfigurationMismatch, match="is not the device that was expected: buf"):
            firstspike.open(terminal.path, config=CASE.config)
        learning = replace(other, learning=True)
        with pytest.raises(ConfigurationMismatch, match="learning was to be True, but is False"):
            firstspike.open(terminal.path, config=learning)
        with firstspike.open(terminal.path) as device:
            image = firstspike.compile(CASE.network, CASE.config)
            with pytest.raises(ConfigurationMismatch, match="cannot take this image: buffer_bytes"):
                device.load(image)
            device.load(CASE.network)
            check(device.infer(CASE.samples))


@pytest.mark.parametrize("text", [b"", b"login: ", b"\x00\x03ab\x00", os.urandom(512)])
def test_something_else_on_the_port(text):
    master, slave = os.openpty()
    tty.setraw(slave)
    stop = threading.Event()

    def talk():
        while not stop.is_set():
            with contextlib.suppress(BlockingIOError):
                os.write(master, text)
            with contextlib.suppress(BlockingIOError):
                os.read(master, 4096)
            time.sleep(1e-3)

    os.set_blocking(master, False)
    thread = threading.Thread(target=talk)
    thread.start()
    try:
        sentence = "sends bytes that are no answers" if text else "does not answer"
        with pytest.raises(NoReply, match=sentence):
            firstspike.open(os.ttyname(slave), timeout=0.05)
    finally:
        stop.set()
        thread.join()
        os.close(master)
        os.close(slave)


def test_an_echo():
    with pytest.raises(NoReply, match="sends bytes that are no answers"):
        firstspike.open("loop://", timeout=0.05)


def unplugged_at(after):
    """A terminal that goes away for good once the host has written ``after`` bytes."""
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    device = board()

    def serve():
        left = after
        while left > 0:
            data = os.read(master, 4096)
            left -= len(data)
            device.write(data)
            while answer := device.read(1.0):
                os.write(master, answer)
        os.close(master)
        os.close(slave)

    thread = threading.Thread(target=serve)
    thread.start()
    return path, thread


@pytest.mark.parametrize("reconnect", [0, 0.3])
def test_unplugged_in_the_middle_of_a_batch(reconnect):
    path, thread = unplugged_at(30_000)
    with firstspike.open(path, reconnect=reconnect) as device:
        device.load(CASE.network)
        sentence = (
            "did not come back within 0.3 s" if reconnect else "went away while it was in use"
        )
        with pytest.raises(DeviceLost, match=sentence):
            device.infer(MANY)
    thread.join()


@pytest.mark.parametrize("forgets", [False, True])
def test_plugged_in_again(tmp_path, forgets):
    """The batch goes on where it was, whether or not the board kept its model."""
    path = tmp_path / "board"
    kept = board()
    lost = threading.Event()
    first = PseudoTerminal(Counted(kept, 30_000, lost.set), path)
    first.start()
    terminals = [first]

    def replug():
        lost.wait()
        first.close()
        time.sleep(0.2)
        again = PseudoTerminal(board() if forgets else kept, path)
        again.start()
        terminals.append(again)

    thread = threading.Thread(target=replug)
    thread.start()
    with firstspike.open(str(path), reconnect=60) as device:
        device.load(CASE.network)
        check(device.infer(MANY))
    thread.join()
    terminals[-1].close()
    assert len(terminals) == 2


class Pulled:
    """A line whose cable is pulled before the next thing that is asked."""

    def __init__(self):
        self.pull = False
        self.board = board()

    def __call__(self, connect):
        return self

    def write(self, data):
        if self.pull:
            self.pull = False
            raise DeviceLost("the cable was pulled")
        self.board.write(data)

    def read(self, timeout):
        return self.board.read(timeout)

    def close(self):
        pass


@pytest.mark.parametrize(
    "read",
    [
        lambda device: device.read_register("steps"),
        lambda device: device.registers()["steps"],
        lambda device: sorted(device.counters()),
        lambda device: device.read_memory("weights_0"),
        lambda device: device.read_image().regions,
        lambda device: device.has_row().tolist(),
        lambda device: device.check(),
    ],
    ids=["register", "registers", "counters", "memory", "image", "rows", "check"],
)
def test_all_that_reads_waits_for_a_device_that_goes_away(read):
    line = Pulled()
    with firstspike.open("model:", config=CASE.config, line=line) as device:
        device.load(CASE.network)
        expected = read(device)
        line.pull = True
        assert read(device) == expected
        assert device.statistics.reconnections == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda device: device.write_register("steps", 1),
        lambda device: device.write_memory("row_map", device.image.regions["row_map"]),
    ],
    ids=["register", "memory"],
)
def test_what_writes_does_not_wait(write):
    line = Pulled()
    with firstspike.open("model:", config=CASE.config, line=line) as device:
        device.load(CASE.network)
        line.pull = True
        with pytest.raises(DeviceLost, match="was pulled"):
            write(device)


def test_another_board_is_plugged_in(tmp_path):
    path = tmp_path / "board"
    lost = threading.Event()
    first = PseudoTerminal(Counted(board(), 30_000, lost.set), path)
    first.start()
    other = Config(CASE.config.layers, CASE.config.max_steps, 1 << 16)
    second = []

    def replug():
        lost.wait()
        first.close()
        second.append(PseudoTerminal(board(other), path))
        second[0].start()

    thread = threading.Thread(target=replug)
    thread.start()
    with firstspike.open(str(path), reconnect=60) as device:
        device.load(CASE.network)
        with pytest.raises(ConfigurationMismatch, match="is not the device that was expected"):
            device.infer(MANY)
    thread.join()
    second[0].close()


def test_loaded_by_others_in_the_middle_of_a_batch():
    backend = ModelBackend(CASE.config)

    def reload():
        backend._values[backend._address["model"]] = 1

    with (
        PseudoTerminal(Counted(VirtualBoard(backend), 30_000, reload)) as terminal,
        firstspike.open(terminal.path) as device,
    ):
        device.load(CASE.network)
        with pytest.raises(LinkError, match="no longer holds the model"):
            device.infer(MANY)


INTERRUPTED = """
import sys, numpy as np, firstspike
from firstspike.sim.random_networks import random_case
case = random_case(31, batch=500)
with firstspike.open(sys.argv[1]) as device:
    device.load(case.network)
    try:
        print("busy", flush=True)
        while True:
            device.infer(np.tile(case.samples, (20, 1)))
    except KeyboardInterrupt:
        result = device.infer(case.samples)
        print(*result.label, sep=",")
"""


def test_an_interruption_leaves_the_device_usable():
    """Ctrl-C in the middle of a batch: the same program and the next one go on."""
    with PseudoTerminal(board()) as terminal:
        for delay in (0.0, 0.02, 0.1, 0.3):
            process = subprocess.Popen(
                [sys.executable, "-c", INTERRUPTED, terminal.path],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout.readline() == "busy\n"
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            assert output.strip() == ",".join(map(str, EXPECTED.label))
        with firstspike.open(terminal.path) as device:
            device.load(CASE.network)
            check(device.infer(CASE.samples))


def test_a_killed_program_leaves_the_device_usable():
    with PseudoTerminal(board()) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, terminal.path], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        time.sleep(0.1)
        process.kill()
        process.communicate()
        with firstspike.open(terminal.path) as device:
            device.load(CASE.network)
            check(device.infer(CASE.samples))


@contextlib.contextmanager
def listening(serve):
    """A TCP server on the port that this yields; ``serve`` talks to one client."""
    server = socket.create_server(("localhost", 0))

    def run():
        with contextlib.suppress(OSError):
            client, _ = server.accept()
            client.settimeout(60)
            with client:
                serve(client)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        thread.join()
        server.close()


def test_a_socket():
    def serve(client):
        device = board()
        while data := client.recv(4096):
            device.write(data)
            while answer := device.read(1.0):
                client.sendall(answer)

    with (
        listening(serve) as number,
        firstspike.open(f"socket://localhost:{number}", reconnect=0) as device,
    ):
        device.load(CASE.network)
        check(device.infer(CASE.samples))


def test_a_socket_that_closes():
    def serve(client):
        device = board()
        for _ in range(40):
            device.write(client.recv(4096))
            while answer := device.read(1.0):
                client.sendall(answer)

    with (
        listening(serve) as number,
        firstspike.open(f"socket://localhost:{number}", reconnect=0) as device,
    ):
        device.load(CASE.network)
        with pytest.raises(DeviceLost, match="went away while it was in use"):
            device.infer(MANY)


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")
def test_a_remote_serial_port():
    """RFC 2217, with pyserial's own server on the other side."""

    def serve(client):
        device = board()
        lock = threading.Lock()

        class Escaped:
            def write(self, data):
                with lock:
                    client.sendall(data)

        manager = serial.rfc2217.PortManager(serial.serial_for_url("loop://"), Escaped())
        while data := client.recv(4096):
            device.write(b"".join(manager.filter(data)))
            while answer := device.read(1.0):
                client.sendall(b"".join(manager.escape(answer)))

    with (
        listening(serve) as number,
        firstspike.open(f"rfc2217://localhost:{number}", reconnect=0) as device,
    ):
        device.load(CASE.network)
        check(device.infer(CASE.samples))


@pytest.mark.parametrize("refusal", [None, ValueError, OSError], ids=str)
def test_low_latency_is_asked_for_where_there_is_any(monkeypatch, refusal):
    asked = []

    def answer(port, value):
        asked.append(value)
        if refusal is not None:
            raise refusal("not here")

    monkeypatch.setattr(serial.Serial, "set_low_latency_mode", answer)
    master, slave = os.openpty()
    try:
        SerialTransport(os.ttyname(slave)).close()
    finally:
        os.close(master)
        os.close(slave)
    assert asked == [True]


def test_a_port_of_a_group_without_a_name(monkeypatch):
    def nobody(gid):
        raise KeyError(gid)

    monkeypatch.setattr(grp, "getgrgid", nobody)

    def denied(*_, **__):
        raise OSError(errno.EACCES, "denied")

    monkeypatch.setattr(serial, "serial_for_url", denied)
    with pytest.raises(PortError, match="usermod -aG dialout"):
        SerialTransport("/dev/null")
