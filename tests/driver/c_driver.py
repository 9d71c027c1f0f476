"""The C driver as a program, compiled with sanitizers and driven over a pipe; see ``driver.c``.

Bytes go between the program and a transport of this side, and so does the time: with a virtual
board behind it, a time-out of the driver takes none.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from firstspike.firmware.formats import NEVER
from firstspike.firmware.protocol import Op, encode_sample
from firstspike.sim.faults import FaultyTransport

__all__ = ["SOURCES", "STRICT", "Driver", "Refused", "compile_c", "compiler"]

HERE = Path(__file__).parent
C_FOLDER = HERE.parents[1] / "firmware" / "c"
SOURCES = sorted(C_FOLDER.glob("*.c"))

STRICT = (
    *("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion"),
    *("-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Werror"),
)
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiler() -> str:
    """The system's C compiler, which comes with the sanitizers; tests are skipped without one."""
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return found
    pytest.skip("there is no C compiler; install gcc or clang")


def compile_c(output: Path, *arguments: str | Path) -> Path:
    """Compile C files with sanitizers into a program."""
    command = [compiler(), *STRICT, *SANITIZED, f"-I{C_FOLDER}", "-o", output, *arguments]
    subprocess.run(command, check=True, timeout=120)
    return output


def _error_names() -> dict[int, str]:
    """Names of the error codes by number, read from the headers."""
    names = {0: "OK"}
    statuses = (C_FOLDER / "firstspike_protocol.h").read_text()
    for name, number in re.findall(r"STATUS\((\w+), (\d+),", statuses):
        names[int(number)] = name
    header = (C_FOLDER / "firstspike.h").read_text()
    # Those of the driver itself follow one another from 0x100 on.
    own = header[header.index("FIRSTSPIKE_UNKNOWN_STATUS = 0x100") : header.index("};")]
    codes = re.findall(r"^ *FIRSTSPIKE_(\w+)", own, re.MULTILINE)
    return names | dict(enumerate(codes, 0x100))


class Refused(Exception):
    """A call of the driver that did not return ``OK``.

    Parameters
    ----------
    name : str
        The error code, such as ``NO_MODEL``.
    text : str
        What ``firstspike_error_text`` says of it.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


@dataclass(frozen=True)
class Outcome:
    """An outcome as the driver gives it; ``rows`` of the first layers that it is compiled for."""

    label: int
    step: int
    fired: bool
    repeated: bool
    cycles: int
    rows: tuple[int, ...]


class Driver:
    """The program, with a transport for its port.

    Parameters
    ----------
    program : Path
        ``driver.c`` compiled.
    transport : VirtualBoard or FaultyTransport
        Bytes and time are its own; it may be replaced by another one, as by a reset.
    """

    def __init__(self, program, transport):
        self._earlier = 0.0
        self._transport = transport
        self._names = _error_names()
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def transport(self):
        return self._transport

    @transport.setter
    def transport(self, transport):
        self._earlier = self.elapsed
        self._transport = transport

    @property
    def elapsed(self):
        """Seconds that have passed."""
        transport = self._transport
        return self._earlier + (
            transport.clock() if isinstance(transport, FaultyTransport) else transport.use.elapsed
        )

    def close(self):
        """End the program; what the sanitizers found makes it fail."""
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self._process.kill()
            with self._process:
                pass

    def call(self, *words):
        """Run a command and return its results; raise :class:`Refused` if it fails."""
        self._write(*words)
        while True:
            line = self._process.stdout.readline()
            assert line, "the program is gone; its standard error says why"
            kind, _, rest = line.strip().partition(" ")
            if kind == "send":
                self.transport.write(_bytes(rest))
            elif kind == "receive":
                self._receive(*map(int, rest.split()))
            else:
                break
        results = self._process.stdout.readline().split()
        if int(kind):
            raise Refused(self._names[int(kind)], rest)
        return results

    def _write(self, *words):
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def _receive(self, capacity, patience):
        if not self._arrived:
            self._arrived = self.transport.read(patience / 1000)
        data, self._arrived = self._arrived[:capacity], self._arrived[capacity:]
        self._write(int(1000 * self.elapsed), _hex(data))

    #: What the transport gave beyond what the program had room for.
    _arrived = b""

    # Commands by name

    def connect(self, digest=0):
        return self.call("connect", digest)

    def load(self, packed, capacity=0):
        """Load a packed model from memory, or through a buffer of ``capacity`` bytes."""
        self.call("load", capacity, _hex(packed))

    def verify(self, packed, capacity=0):
        self.call("verify", capacity, _hex(packed))

    def selftest(self, packed, capacity=0):
        self.call("selftest", capacity, _hex(packed))

    def read_register(self, address):
        return int(self.call("read_register", address)[0])

    def write_register(self, address, value):
        self.call("write_register", address, value)

    def read_counters(self):
        return [int(value) for value in self.call("read_counters")]

    def read_memory(self, region, word, words, word_bytes):
        return _bytes(self.call("read_memory", region, word, words, word_bytes)[0])

    def write_memory(self, region, word, words, word_bytes, data):
        self.call("write_memory", region, word, words, word_bytes, _hex(data))

    def memory_crc(self, region, word, words, word_bytes):
        return int(self.call("memory_crc", region, word, words, word_bytes)[0])

    def infer(self, samples):
        """Classify (batch, inputs) spike steps."""
        self._take_samples(samples, [0] * len(samples))
        return [_outcome(text) for text in self.call("infer")]

    def learn(self, samples, labels, number=0):
        """Learn from (batch, inputs) spike steps, numbered from ``number`` on."""
        self._take_samples(samples, labels)
        return [_outcome(text) for text in self.call("learn", number)]

    def _take_samples(self, samples, labels):
        self.call("clear")
        for sample, label in zip(samples, labels, strict=True):
            op, payload = encode_sample(sample)
            if op == Op.INFER_BITMAP:
                self.call("bitmap", label, _hex(payload))
            else:
                # The driver makes the list itself, in just the room that it takes.
                order = np.argsort(sample, kind="stable")
                order = order[sample[order] != NEVER]
                spikes = np.stack([sample[order], order], axis=1).ravel()
                self.call("spikes", label, len(payload), len(order), *spikes)

    def troubles(self):
        """Frames that were sent again, and runs of bytes that were no frame."""
        return tuple(int(count) for count in self.call("troubles"))


def _hex(data):
    return data.hex() or "-"


def _bytes(text):
    return b"" if text == "-" else bytes.fromhex(text)


def _outcome(text):
    label, step, fired, repeated, cycles, *rows = map(int, text.split(","))
    return Outcome(label, step, bool(fired), bool(repeated), cycles, tuple(rows))
