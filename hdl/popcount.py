"""The error of a hidden neuron, from the signs of its weights."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from .errors import ErrorKind, ErrorSignature
from .token import index_shape

__all__ = ["Popcount"]

#: Terms that are added up in one cycle.
_TERMS = 4


class Popcount(wiring.Component):
    """Adds up the votes of a weight row and passes their sign back to the neuron of its input.

    Parameters
    ----------
    config : Config
    layer : int
        The layer of the weights, not the first.

    Members
    -------
    valid : In(1)
        A group of votes.
    closes : In(1)
        The last of the row.
    index : In
        The row.
    arrival : In(range(max_steps))
        The step in which its input spiked.
    votes : In(signed(2)).array(lanes)
    o : Out(ErrorSignature(config, layer - 1))

    Latency: :attr:`latency` cycles from the last group to ``o``. Throughput: a group a cycle.
    """

    def __init__(self, config: Config, layer: int) -> None:
        self.config = config
        self.layer = config.layers[layer]
        self.before = config.layers[layer - 1]
        super().__init__(
            {
                "valid": In(1),
                "closes": In(1),
                "index": In(index_shape(self.layer.rows)),
                "arrival": In(index_shape(config.max_steps)),
                "votes": In(signed(2)).array(self.layer.lanes),
                "o": Out(ErrorSignature(config, layer - 1)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles to ``o``: ``vote``, the rounds of the sum, ``total`` and ``write``."""
        return self._rounds + 3

    @property
    def _rounds(self) -> int:
        return -(-(self.layer.lanes - 1).bit_length() // 2)

    def elaborate(self, platform) -> Module:
        m = Module()
        before = self.before
        row_layout = data.StructLayout(
            {
                "closes": 1,
                "group": index_shape(before.groups),
                "lane": index_shape(before.lanes),
                "arrival": self.arrival.shape(),
            }
        )

        def stage(name: str, valid: Signal, row: data.View) -> tuple[Signal, data.View]:
            """Registers behind a pipeline stage."""
            next_valid = Signal(name=f"{name}_valid")
            next_row = Signal(row_layout, name=name, reset_less=True)
            m.d.sync += [next_valid.eq(valid), next_row.eq(row)]
            return next_valid, next_row

        enter = Signal(row_layout)
        base = Signal(self.index.shape())
        m.d.comb += [
            enter.closes.eq(self.closes),
            enter.arrival.eq(self.arrival),
            enter.lane.eq(self.index - base),
        ]
        for group in range(1, before.groups):
            with m.If(self.index >= group * before.lanes):
                m.d.comb += [enter.group.eq(group), base.eq(group * before.lanes)]

        # vote
        valid, row = stage("vote", self.valid, enter)
        terms = []
        for lane, vote in enumerate(self.votes):
            term = Signal(signed(2), name=f"vote_{lane}", reset_less=True)
            m.d.sync += term.eq(vote)
            terms.append(term)

        # sum
        most = 1
        for number in range(self._rounds):
            valid, row = stage(f"sum_{number}", valid, row)
            most *= _TERMS
            sums = []
            for first in range(0, len(terms), _TERMS):
                total = Signal(
                    range(-most, most + 1), name=f"sum_{number}_{first}", reset_less=True
                )
                m.d.sync += total.eq(sum(terms[first : first + _TERMS]))
                sums.append(total)
            terms = sums
        (root,) = terms

        # total
        total_valid, total_row = stage("total", valid & row.closes, row)
        total = Signal(range(-self.layer.neurons, self.layer.neurons + 1))
        fresh = Signal(init=1)
        with m.If(valid):
            m.d.sync += [total.eq(Mux(fresh, 0, total) + root), fresh.eq(row.closes)]

        # write
        write_kind = Signal(ErrorKind, reset_less=True)
        write_when = Signal(self.arrival.shape(), reset_less=True)
        m.d.sync += [
            self.o.group.eq(total_row.group),
            write_when.eq(total_row.arrival),
            write_kind.eq(
                Mux(total == 0, ErrorKind.FIRED, Mux(total[-1], ErrorKind.LATER, ErrorKind.EARLIER))
            ),
        ]
        # A lane is chosen by its number's upper and lower half.
        half = len(total_row.lane) // 2
        lower, upper = Signal(1 << half), Signal(1 << (len(total_row.lane) - half))
        m.d.sync += [
            *(bit.eq(total_row.lane[:half] == number) for number, bit in enumerate(lower)),
            *(
                bit.eq(total_valid & (total_row.lane[half:] == number))
                for number, bit in enumerate(upper)
            ),
        ]
        for lane, error in enumerate(self.o.errors):
            m.d.comb += self.o.enable[lane].eq(lower[lane % len(lower)] & upper[lane // len(lower)])
            m.d.comb += error.kind.eq(write_kind)
            if before.neuron == "current":
                m.d.comb += error.when.eq(write_when)
        return m
