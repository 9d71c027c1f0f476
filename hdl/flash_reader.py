"""Reads an SPI flash from an address on."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FlashReader", "SpiPins"]

#: Every flash reads as fast as this, without dummy bytes.
_MOST_HZ = 20_000_000

#: More than it takes to wake up, and to be ready for the next command.
_WAKE_SECONDS = 50e-6
_PAUSE_SECONDS = 200e-9

_WAKE = 0xAB
_READ = 0x03
_BYTE = 8
_COMMAND_BITS = 32


class SpiPins(wiring.Signature):
    """The lines to a flash; ``cs`` is high while it is selected, so the pin inverts it.

    Members
    -------
    cs, clk, copi : Out(1)
    cipo : In(1)
    """

    def __init__(self) -> None:
        super().__init__({"cs": Out(1), "clk": Out(1), "copi": Out(1), "cipo": In(1)})


class FlashReader(wiring.Component):
    """Gives the bytes of an SPI flash, in mode 0 by its standard read command.

    The flash is woken up first, since the part that was configured from it may have put it to
    sleep. While a byte is not taken, the clock of the flash stands still.

    Parameters
    ----------
    clock_hz : int
    address : int
        Of the first byte, below 2^24.

    Members
    -------
    pins : Out(SpiPins())
    enable : In(1)
        While it is low, the flash is not selected; when it rises, reading begins at ``address``.
    o : Out(stream)
        Bytes.

    Throughput: a byte in 17 cycles up to 40 MHz and in 33 up to 80 MHz: 8 clocks of at most 20 MHz,
    and a cycle in which the byte is offered.
    """

    def __init__(self, clock_hz: int, address: int) -> None:
        self._half = max(1, -(-clock_hz // (2 * _MOST_HZ)))
        self._wake = round(_WAKE_SECONDS * clock_hz) + 1
        self._pause = round(_PAUSE_SECONDS * clock_hz) + 1
        self._command = _READ << 24 | address
        super().__init__(
            {"pins": Out(SpiPins()), "enable": In(1), "o": Out(stream.Signature(_BYTE))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        awake = Signal()
        # A reset may come in the middle of a command, or while the flash wakes up.
        timer = Signal(range(self._wake), init=self._wake - 1)
        command = Signal(_COMMAND_BITS)
        data = Signal(_BYTE)
        left = Signal(range(_COMMAND_BITS + 1))
        divider = Signal(range(self._half))
        tick = Signal()
        m.d.comb += [
            tick.eq(divider == 0),
            self.pins.copi.eq(command[-1]),
            self.o.payload.eq(data),
        ]

        with m.FSM(name="state"):
            with m.State("apart"):
                m.d.sync += [self.pins.cs.eq(0), timer.eq(timer - 1)]
                with m.If((timer == 0) & self.enable):
                    m.d.sync += [
                        timer.eq(timer),
                        self.pins.cs.eq(1),
                        divider.eq(self._half - 1),
                        command.eq(self._command),
                        left.eq(_COMMAND_BITS),
                    ]
                    with m.If(~awake):
                        m.d.sync += [
                            command.eq(Cat(Const(0, _COMMAND_BITS - _BYTE), Const(_WAKE, _BYTE))),
                            left.eq(_BYTE),
                        ]
                    m.next = "move"
                with m.Elif(timer == 0):
                    m.d.sync += timer.eq(timer)

            # Both ends give a bit with the falling edge. The flash takes ours with the rising one,
            # and its own is taken as late as can be, with the next falling edge.
            with m.State("move"):
                m.d.sync += divider.eq(divider - 1)
                with m.If(tick):
                    m.d.sync += [divider.eq(self._half - 1), self.pins.clk.eq(~self.pins.clk)]
                    with m.If(self.pins.clk):
                        m.d.sync += [
                            command.eq(command << 1),
                            data.eq(Cat(self.pins.cipo, data)),
                            left.eq(left - 1),
                        ]
                        with m.If(left == 1):
                            m.next = "moved"

            with m.State("moved"):
                # What comes back during a command is no data.
                first = Signal(init=1)
                m.d.comb += self.o.valid.eq(awake & ~first & self.enable)
                m.d.sync += left.eq(_BYTE)
                with m.If(~awake):
                    m.d.sync += [awake.eq(1), timer.eq(self._wake - 1)]
                    m.next = "apart"
                with m.Elif(~self.enable):
                    m.d.sync += [first.eq(1), timer.eq(self._pause - 1)]
                    m.next = "apart"
                with m.Elif(first | self.o.ready):
                    m.d.sync += first.eq(0)
                    m.next = "move"

        return m
