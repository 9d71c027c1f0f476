"""Seeded bugs, each of which a named proof has to find.

Run by hand::

    python tests/formal/seeded_bugs.py             # all
    python tests/formal/seeded_bugs.py tie spike   # those with these words in their names

A bug is an exact replacement in the source of one component. The package is copied, the copy
changed, and the proof that is named is run on the copy; it has to fail, with a counterexample.
"""

import argparse
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from prove import timed

__all__ = ["MUTATIONS", "Mutation", "applies", "survives"]

_ROOT = Path(__file__).parents[2]
#: Seconds that it may take to find a bug.
_PATIENCE = 300
#: Parts of the package that have no bugs seeded.
_PARTS = ("firmware", "sim", "boards")


@dataclass(frozen=True)
class Mutation:
    """A bug, and what finds it.

    Parameters
    ----------
    name : str
    file : str
        Where it is, in ``hdl/``.
    before, after : str
        The source without it, which stands in the file once, and with it.
    caught_by : str
        Name of a proof.
    """

    name: str
    file: str
    before: str
    after: str
    caught_by: str


MUTATIONS = [
    Mutation(
        "a tie goes to the highest index",
        "hdl/decision.py",
        "with m.If(pair[1][0] > pair[0][0]):",
        "with m.If(pair[1][0] >= pair[0][0]):",
        "decision.rule[3 outputs, 3 lanes]",
    ),
    Mutation(
        "a later group wins a tie",
        "hdl/decision.py",
        "best_fresh | (root_key > best_key)",
        "best_fresh | (root_key >= best_key)",
        "decision.rule[3 outputs, 2 lanes]",
    ),
    Mutation(
        "a class too many takes part",
        "hdl/decision.py",
        "~membrane[-1], lane < enter_left)",
        "~membrane[-1], lane <= enter_left)",
        "decision.rule[2 outputs, 1 lanes]",
    ),
    Mutation(
        "a neuron spikes twice",
        "hdl/neuron.py",
        "with m.If(self.step & (membrane < 0)):",
        "with m.If(self.step):",
        "neuron.arithmetic[b=8 i=16 v=20 k=4]",
    ),
    Mutation(
        "a sum fires again",
        "hdl/neuron.py",
        "m.d.comb += self.next.sum[-1].eq(1)",
        "m.d.comb += self.next.sum[-1].eq(0)",
        "neuron.sums[b=8 i=16]",
    ),
    Mutation(
        "saturation is one too low",
        "hdl/neuron.py",
        "self.next.membrane.eq(membrane_floor(bits))",
        "self.next.membrane.eq(membrane_floor(bits) + 1)",
        "neuron.floor[b=8 i=16 v=16 k=1]",
    ),
    Mutation(
        "the decay rounds up",
        "hdl/neuron.py",
        "total.eq(Cat(1, current) + Cat(self.step, addend))",
        "total.eq(Cat(1, current) + Cat(self.step & ~current[-1], addend))",
        "neuron.arithmetic[b=8 i=12 v=32 k=8]",
    ),
    Mutation(
        "a packet is committed despite its CRC",
        "hdl/framing.py",
        "crc.match_detected & ",
        "",
        "framing.crc",
    ),
    Mutation(
        "a frame is committed that found no room",
        "hdl/framing.py",
        "good.eq(ended & whole & ~lost)",
        "good.eq(ended & whole)",
        "framing.crc",
    ),
    Mutation(
        "the decoder keeps its code after a zero",
        "hdl/cobs.py",
        "m.d.sync += [left.eq(0), zero_due.eq(0)]",
        "m.d.sync += zero_due.eq(0)",
        "cobs.idle",
    ),
    Mutation(
        "a full run stands for a zero",
        "hdl/cobs.py",
        "zero_due.eq(self.i.payload != _FULL_CODE)",
        "zero_due.eq(1)",
        "cobs.round_trip",
    ),
    Mutation(
        "the buffer is full one item too late",
        "hdl/packet_buffer.py",
        "(head + 1)[: len(head)] == limit",
        "head == limit",
        "packet_buffer.order[4 slots]",
    ),
    Mutation(
        "a discard leaves the item of its cycle",
        "hdl/packet_buffer.py",
        "m.d.sync += head.eq(base + reserved)",
        "m.d.sync += head.eq(base + reserved + push)",
        "packet_buffer.order[8 slots]",
    ),
    Mutation(
        "a packet comes out before it is committed",
        "hdl/packet_buffer.py",
        "read.en.eq((tail != base) &",
        "read.en.eq((tail != head) &",
        "packet_buffer.order[4 slots]",
    ),
    Mutation(
        "an item changes while it waits",
        "hdl/stream_register.py",
        "with m.If(self.o.ready | ~self.o.valid):",
        "with m.If(self.o.ready | ~spare_valid):",
        "stream_register.order",
    ),
    Mutation(
        "the popcount skips a lane",
        "hdl/popcount.py",
        "total.eq(sum(terms[first : first + _TERMS]))",
        "total.eq(sum(terms[first : first + _TERMS - 1]))",
        "popcount.sign[10 lanes, 1 groups]",
    ),
    Mutation(
        "a vote of zero makes an error",
        "hdl/popcount.py",
        "Mux(total == 0, ErrorKind.FIRED,",
        "Mux(total == 1, ErrorKind.FIRED,",
        "popcount.sign[3 lanes, 3 groups]",
    ),
    Mutation(
        "a weight leaves its range",
        "hdl/synapse.py",
        "~(moved[bits - 1 :].all() & moved[: bits - 1].any())",
        "~moved[bits - 1 :].all()",
        "synapse.update[8 bits, last]",
    ),
    Mutation(
        "the dead zone is one too narrow",
        "hdl/synapse.py",
        "larger: Value = weight[-1]",
        "larger: Value = Const(1)",
        "synapse.update[4 bits, hidden]",
    ),
    Mutation(
        "a generator shifts the other way",
        "hdl/xorshift.py",
        "UPDATE_SHIFTS = (13, -17, 5)",
        "UPDATE_SHIFTS = (13, 17, 5)",
        "xorshift.definition[32 bits]",
    ),
    Mutation(
        "dropout compares with less or equal",
        "hdl/dropout.py",
        "_NUMBER_BITS) < self.probability",
        "_NUMBER_BITS) <= self.probability",
        "dropout.mask[7 neurons, 7 lanes]",
    ),
    Mutation(
        "a register takes one value too many",
        "hdl/registers.py",
        "offset < len(values)",
        "offset <= len(values)",
        "registers.accepted[inference]",
    ),
    Mutation(
        "a new threshold leaves the model valid",
        "hdl/registers.py",
        "if register.of_model:",
        "if register.of_model and not register.per_layer:",
        "registers.accepted[inference]",
    ),
    Mutation(
        "the queue has room too long",
        "hdl/scanner.py",
        "queue.level < self.depth - self.in_flight - 2",
        "queue.level < self.depth - self.in_flight",
        "scanner.room[16 places]",
    ),
    Mutation(
        "the highest spike goes first",
        "hdl/scanner.py",
        "send_token.index.eq(chunk_base + _position(_lowest(chunk_spikes)))",
        "send_token.index.eq(chunk_base + _position(chunk_spikes))",
        "scanner.order[5 lanes, 1 group]",
    ),
    Mutation(
        "a row is read before its state is written",
        "hdl/layer.py",
        "write.addr.eq(update.group)",
        "write.addr.eq(fetch.group)",
        "layer.groups[3 neurons, 2 lanes]",
    ),
    Mutation(
        "the first token finds the sample before",
        "hdl/layer.py",
        "Mux(update.first, initial.as_value(), read.data[lane].as_value())",
        "read.data[lane].as_value()",
        "layer.groups[3 neurons, 1 lanes]",
    ),
    Mutation(
        "a step is sent before its last spike",
        "hdl/sequencer.py",
        "spike.eq(~map_end & (map_step == step))",
        "spike.eq(~map_end & (map_step == step + 1))",
        "sequencer.order",
    ),
    Mutation(
        "an answer is given twice",
        "hdl/commands.py",
        "with m.If(answered & ~running):",
        "with m.If(answered & ~running & (seq != 0)):",
        "commands.answers",
    ),
    Mutation(
        "a sample is taken for another model",
        "hdl/sample_check.py",
        "other = self.arg != self.model",
        "other = self.arg != self.arg",
        "sample_check.refusals[inference]",
    ),
    Mutation(
        "an input that is not there may spike",
        "hdl/sample_reader.py",
        "outside.eq(index >= inputs)",
        "outside.eq(index > inputs)",
        "sample_reader.events",
    ),
    Mutation(
        "a word is written behind the last",
        "hdl/memory_streamer.py",
        "with m.If(beyond | (address >= size)):",
        "with m.If(beyond | (address > size)):",
        "memory_streamer.stable",
    ),
    Mutation(
        "a sample begins before the result is taken",
        "hdl/sequencer.py",
        "self.idle.eq(~open_ & ~pending)",
        "self.idle.eq(~open_)",
        "core.results",
    ),
    Mutation(
        "the watchdog forgets to bark",
        "hdl/watchdog.py",
        "self.o_results.valid.eq(owed & (self.i_results.valid | late))",
        "self.o_results.valid.eq(owed & self.i_results.valid)",
        "watchdog.answers",
    ),
]


def applies(mutation: Mutation) -> bool:
    """Whether the source that the bug changes is still there, once."""
    return (_ROOT / mutation.file).read_text().count(mutation.before) == 1


def _mutant(mutation: Mutation, folder: Path) -> None:
    """Put the package with the bug into ``folder``."""
    package = folder / "firstspike"
    package.mkdir()
    for part in [*(_ROOT / "host").iterdir(), *(_ROOT / name for name in _PARTS)]:
        (package / part.name).symlink_to(part)
    shutil.copytree(_ROOT / "hdl", package / "hdl", ignore=shutil.ignore_patterns("__pycache__"))
    source = package / mutation.file
    source.write_text(source.read_text().replace(mutation.before, mutation.after))


def survives(mutation: Mutation, folder: Path) -> tuple[str, float]:
    """Why the bug was not found, or nothing if it was; and the processor's seconds."""
    if not applies(mutation):
        return "the source that it changes is not there any more", 0
    _mutant(mutation, folder)
    prover = [sys.executable, str(Path(__file__).parent / "prove.py")]
    command = ["timeout", str(_PATIENCE), *prover, "--refute", mutation.caught_by]
    command += ["--keep", str(folder / "proof")]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    code, log, seconds = timed(command, cwd=folder, env=environment)
    return "" if code == 0 else log[-2000:] or "nothing found it in time", seconds


def main() -> int:
    parser = argparse.ArgumentParser(description="Seed bugs and see that each is found.")
    parser.add_argument("words", nargs="*", help="parts of the names of bugs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    words = arguments.words
    chosen = [bug for bug in MUTATIONS if not words or any(word in bug.name for word in words)]

    def attempt(mutation: Mutation) -> tuple[str, float]:
        with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
            return survives(mutation, Path(folder))

    left = 0
    print("| bug | caught by | s |\n|---|---|---|")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for mutation, (reason, seconds) in zip(chosen, pool.map(attempt, chosen), strict=True):
            where = "SURVIVES" if reason else f"`{mutation.caught_by}`"
            print(f"| {mutation.name} | {where} | {seconds:.0f} |", flush=True)
            if reason:
                left += 1
                print(f"{mutation.name}: {reason}", file=sys.stderr)
    print(f"\n{len(chosen) - left} of {len(chosen)} caught")
    return 1 if left or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
