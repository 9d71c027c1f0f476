"""The register file, generated from the register table."""

from typing import Any

from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..firmware.config import Config
from ..firmware.registers import Register, register_map, register_values

__all__ = ["RegisterBus", "RegisterFile"]

_WIDTH = 32


class RegisterBus(wiring.Signature):
    """Access to one register at a time, from the side that asks.

    What comes back is of the ``address`` and ``value`` of the cycle before, and so is ``write``:
    both are held.

    Members
    -------
    address : Out(32)
    value : Out(32)
        To be written.
    write : Out(1)
        Takes effect only if ``known``, ``writable`` and ``accepted``.
    current : In(32)
        The register's value.
    known, writable, accepted : In(1)
        There is a register at ``address``; it can be written; it takes ``value``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "address": Out(_WIDTH),
                "value": Out(_WIDTH),
                "write": Out(1),
                "current": In(_WIDTH),
                "known": In(1),
                "writable": In(1),
                "accepted": In(1),
            }
        )


class RegisterFile(wiring.Component):
    """Holds the registers of :data:`~firstspike.firmware.registers.REGISTERS`.

    Parameters
    ----------
    config : Config

    Members
    -------
    bus : In(RegisterBus())
    (name of a writable register) : Out
        Its value, as wide as its largest.
    (name of a shared register)_load : In(1), (name of a shared register)_next : In
        Give it another value.
    (name of a register that starts unset)_known : Out(1)
        It has been written since the last reset.
    (name of a counter) : In(1)
        Counts the cycles in which it is high. ``boots`` needs no telling.
    void : In(1)
        The memories no longer hold the model: sets ``model`` to 0.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._values = register_values(config)
        members: dict[str, Any] = {"bus": In(RegisterBus()), "void": In(1)}
        for name, _, register in register_map(config):
            if register.writable:
                width = bits_for(self._values[name][-1])
                members[name] = Out(Shape(width), init=register.reset)
                if register.shared:
                    members[f"{name}_load"] = In(1)
                    members[f"{name}_next"] = In(Shape(width))
                if register.unset:
                    members[f"{name}_known"] = Out(1)
            elif not register.kept:
                members[name] = In(1)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()

        registers = list(register_map(self._config))
        contents = {}
        for name, _, register in registers:
            if not register.writable:
                contents[name] = self._counter(m, name, register)
                continue
            contents[name] = getattr(self, name)
            if register.shared:
                with m.If(getattr(self, f"{name}_load")):
                    m.d.sync += contents[name].eq(getattr(self, f"{name}_next"))

        answer = {
            name: Signal.like(getattr(self.bus, name), name=f"answer_{name}")
            for name in ("known", "writable", "accepted", "current")
        }
        m.d.sync += [getattr(self.bus, name).eq(value) for name, value in answer.items()]
        write = Signal()
        m.d.sync += write.eq(self.bus.write & self.bus.accepted)
        # One comparison for the bits that no address uses keeps those for each register short.
        width = bits_for(max(address for _, address, _ in registers))
        with m.If(self.bus.address[width:] == 0), m.Switch(self.bus.address[:width]):
            for name, address, register in registers:
                with m.Case(address):
                    m.d.comb += [
                        answer["known"].eq(1),
                        answer["writable"].eq(register.writable),
                        answer["current"].eq(contents[name]),
                    ]
                    if register.writable:
                        values, value = self._values[name], self.bus.value
                        # No more bits are compared than a value can have, and none with 0.
                        used = bits_for(values[-1])
                        accepted = (value[used:] == 0) & (value[:used] < values.stop)
                        if values.start > 0:
                            accepted &= value[:used] >= values.start
                        m.d.comb += answer["accepted"].eq(accepted)
                        with m.If(write):
                            m.d.sync += contents[name].eq(value)
                            if register.of_model:
                                m.d.sync += self.model.eq(0)
                            if register.unset:
                                m.d.sync += getattr(self, f"{name}_known").eq(1)
        with m.If(self.void):
            m.d.sync += self.model.eq(0)

        return m

    def _counter(self, m: Module, name: str, register: Register) -> Signal:
        """Build a free-running counter."""
        count = Signal(register.bits, name=f"{name}_counter", reset_less=register.kept)
        strobe = Signal(name=f"{name}_strobe", reset_less=register.kept)
        if register.kept:
            # Low in a reset and for a cycle after it; seen late, so that it can be seen.
            running = Signal(name=f"{name}_running")
            m.d.sync += running.eq(1)
            happened: Value = running & ~strobe
            m.d.sync += strobe.eq(running)
        else:
            happened = strobe
            m.d.sync += strobe.eq(getattr(self, name))
        m.d.sync += count.eq(count + happened)
        return count
