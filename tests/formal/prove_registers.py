"""The register file: it holds what it was given, and is given only what it takes."""

from amaranth.hdl import Module, Mux, Signal, Value
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.registers import register_map, register_values
from firstspike.hdl.registers import RegisterFile
from prove import Method, prove
from watch import Inside, assume, claim, free, given, past, reached

_LAYERS = [
    LayerConfig(5, 4, 4, current_bits=12, membrane_bits=12),
    LayerConfig(4, 3, 3, membrane_bits=20),
]
SIZES = {
    "inference": {"config": Config(_LAYERS, 100)},
    "learning": {"config": Config(_LAYERS, 100, learning=True)},
}


def _written(m: Module, dut: RegisterFile, config: Config) -> dict[str, Value]:
    """Whether each register is being written, by the words of ``docs/link.md``; and the bus, as it
    is used."""
    bus = dut.bus
    held = (bus.address == past(m, bus.address)) & (bus.value == past(m, bus.value))
    assume(m, given(bus.write | past(m, bus.write), held))
    values = register_values(config)
    written = {}
    for name, address, register in register_map(config):
        if register.writable:
            taken = (bus.value >= values[name][0]) & (bus.value <= values[name][-1])
            written[name] = (bus.address == address) & taken
    return written


@prove(Method.INDUCTION, 4, cover=9, sizes=SIZES)
def accepted(m: Module, config: Config) -> None:
    """A register that the host writes only ever holds a value that it takes; a write of such a
    value takes effect, any other write has none, and nothing else but the device itself changes a
    register."""
    m.submodules.dut = dut = RegisterFile(config)
    free(m, dut)
    values = register_values(config)
    written = _written(m, dut, config)
    writes = past(m, dut.bus.write)
    of_model = Signal()
    for name, _, register in register_map(config):
        if register.of_model:
            with m.If(writes & written[name]):
                m.d.comb += of_model.eq(1)
    for name, _, register in register_map(config):
        if not register.writable:
            continue
        value = getattr(dut, name)
        low, high = values[name][0], values[name][-1]
        claim(m, (value >= low) & (value <= high), f"{name} holds what it takes")
        following = value
        if register.shared:
            # What learning leaves is right by itself: a generator never comes to 0, by the proofs
            # of the generators.
            load, learned = getattr(dut, f"{name}_load"), getattr(dut, f"{name}_next")
            if low:
                assume(m, given(load, learned != 0))
            following = Mux(load, learned, value)
        following = Mux(writes & written[name], dut.bus.value, following)
        if name == "model":
            following = Mux(dut.void | of_model, 0, following)
        claim(
            m,
            value == past(m, following, init=register.reset),
            f"{name} is what it was made, or as before",
        )
    reached(m, (dut.steps == 77) & (dut.threshold_1 == 1 << 19), "two are written")
    reached(m, past(m, dut.model != 0) & (dut.model == 0), "a model is forgotten")


@prove(Method.INDUCTION, 2, cover=5, sizes=SIZES)
def answers(m: Module, config: Config) -> None:
    """What is told of an address and a value is right: whether there is a register, whether it can
    be written, whether it takes the value, and what it holds: a counter the number of cycles in
    which there was what it counts, but for that of the resets."""
    dut = RegisterFile(config)
    inside = Inside(m, dut)
    free(m, dut)
    written = _written(m, dut, config)
    known, writable, current = Signal(), Signal(), Signal(32)
    for name, address, register in register_map(config):
        if register.writable:
            held = getattr(dut, name)
        elif register.kept:
            held = inside[f"{name}_counter"]
        else:
            held = Signal(register.bits, name=f"{name}_expected")
            happened = past(m, getattr(dut, name))
            m.d.sync += held.eq(held + happened)
            claim(m, inside[f"{name}_counter"] == held, f"{name} counts")
            claim(m, inside[f"{name}_strobe"] == happened, f"{name} has happened")
        with m.If(dut.bus.address == address):
            m.d.comb += [
                known.eq(1),
                writable.eq(register.writable),
                current.eq(held),
            ]
    claim(m, dut.bus.known == past(m, known), "a register is known or not")
    claim(m, dut.bus.writable == past(m, writable), "it can be written or not")
    taken = sum(written.values())
    claim(m, dut.bus.accepted == past(m, taken != 0), "it takes the value or not")
    claim(m, dut.bus.current == past(m, current), "it holds what it holds")
    reached(m, dut.bus.known & ~dut.bus.writable, "a counter is read")
