"""Seeded bugs, each of which a named proof has to find.

Run by hand::

    python tests/formal/seeded_bugs.py             # all
    python tests/formal/seeded_bugs.py tie spike   # those with these words in their names

A bug is an exact replacement in the source of one component. The package is copied, the copy
changed, and the claim that is named, of the proof that is named, is looked at on the copy: there
has to be a counterexample to it, from the reset on. The other claims of the proof are left out, so
that a bug counts as found only for what it breaks. For the few that would take too many cycles, the
counterexample is one of a step of the induction.
"""

import argparse
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from firstspike.boards.tools import find
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
    claim : str
        What it breaks of it.
    anywhere : bool
        It shows too late after the reset: a step of the induction finds it, before which all that
        the proof claims held.
    """

    name: str
    file: str
    before: str
    after: str
    caught_by: str
    claim: str
    anywhere: bool = False


MUTATIONS = [
    Mutation(
        "a tie goes to the highest index",
        "hdl/decision.py",
        "with m.If(pair[1][0] > pair[0][0]):",
        "with m.If(pair[1][0] >= pair[0][0]):",
        "decision.rule[3 outputs, 3 lanes]",
        "label is the rule's",
    ),
    Mutation(
        "a later group wins a tie",
        "hdl/decision.py",
        "best_fresh | (root_key > best_key)",
        "best_fresh | (root_key >= best_key)",
        "decision.rule[3 outputs, 2 lanes]",
        "label is the rule's",
    ),
    Mutation(
        "a class too many takes part",
        "hdl/decision.py",
        "~membrane[-1], lane < enter_left)",
        "~membrane[-1], lane <= enter_left)",
        "decision.rule[2 outputs, 1 lanes]",
        "label is the rule's",
    ),
    Mutation(
        "a neuron spikes twice",
        "hdl/neuron.py",
        "with m.If(self.step & (membrane < 0)):",
        "with m.If(self.step):",
        "neuron.arithmetic[b=8 i=16 v=20 k=4]",
        "a neuron fires once",
    ),
    Mutation(
        "a sum fires again",
        "hdl/neuron.py",
        "m.d.comb += self.next.sum[-1].eq(1)",
        "m.d.comb += self.next.sum[-1].eq(0)",
        "neuron.sums[b=8 i=16]",
        "it fires at its crossing, once",
    ),
    Mutation(
        "saturation is one too low",
        "hdl/neuron.py",
        "self.next.membrane.eq(membrane_floor(bits))",
        "self.next.membrane.eq(membrane_floor(bits) + 1)",
        "neuron.floor[b=8 i=16 v=16 k=1]",
        "the floor is exact",
    ),
    Mutation(
        "the decay rounds up",
        "hdl/neuron.py",
        "total.eq(Cat(1, current) + Cat(self.step, addend))",
        "total.eq(Cat(1, current) + Cat(self.step & ~current[-1], addend))",
        "neuron.arithmetic[b=8 i=12 v=32 k=8]",
        "the current is the specification's",
    ),
    Mutation(
        "a packet is committed despite its CRC",
        "hdl/framing.py",
        "crc.match_detected & ",
        "",
        "framing.crc",
        "a right frame is committed, no other is",
    ),
    Mutation(
        "a frame is committed that found no room",
        "hdl/framing.py",
        "good.eq(ended & whole & ~lost)",
        "good.eq(ended & whole)",
        "framing.crc",
        "a right frame is committed, no other is",
    ),
    Mutation(
        "the decoder keeps its code after a zero",
        "hdl/cobs.py",
        "m.d.sync += [left.eq(0), zero_due.eq(0)]",
        "m.d.sync += zero_due.eq(0)",
        "cobs.idle",
        "left is as after a reset",
    ),
    Mutation(
        "a full run stands for a zero",
        "hdl/cobs.py",
        "zero_due.eq(self.i.payload != self._full_run + 1)",
        "zero_due.eq(1)",
        "cobs.round_trip",
        "every byte comes back",
    ),
    Mutation(
        "the buffer is full one item too late",
        "hdl/packet_buffer.py",
        "(head + 1)[: len(head)] == limit",
        "head == limit",
        "packet_buffer.order[4 slots]",
        "an item comes out in its turn, as it went in",
    ),
    Mutation(
        "a discard leaves the item of its cycle",
        "hdl/packet_buffer.py",
        "m.d.sync += head.eq(base + reserved)",
        "m.d.sync += head.eq(base + reserved + push)",
        "packet_buffer.order[8 slots]",
        "an item comes out in its turn, as it went in",
    ),
    Mutation(
        "a packet comes out before it is committed",
        "hdl/packet_buffer.py",
        "read.en.eq((tail != base) &",
        "read.en.eq((tail != head) &",
        "packet_buffer.order[4 slots]",
        "nothing comes out that was not committed",
    ),
    Mutation(
        "an item changes while it waits",
        "hdl/stream_register.py",
        "with m.If(self.o.ready | ~self.o.valid):",
        "with m.If(self.o.ready | ~spare_valid):",
        "stream_register.order",
        "valid and payload stay",
    ),
    Mutation(
        "the popcount skips a lane",
        "hdl/popcount.py",
        "total.eq(sum(terms[first : first + _TERMS]))",
        "total.eq(sum(terms[first : first + _TERMS - 1]))",
        "popcount.sign[10 lanes, 1 groups]",
        "it is the sign of the sum",
    ),
    Mutation(
        "a vote of zero makes an error",
        "hdl/popcount.py",
        "Mux(total == 0, ErrorKind.FIRED,",
        "Mux(total == 1, ErrorKind.FIRED,",
        "popcount.sign[3 lanes, 3 groups]",
        "it is the sign of the sum",
    ),
    Mutation(
        "a weight leaves its range",
        "hdl/synapse.py",
        "~(moved[bits - 1 :].all() & moved[: bits - 1].any())",
        "~moved[bits - 1 :].all()",
        "synapse.update[8 bits, last]",
        "the weight keeps within its limits",
    ),
    Mutation(
        "the dead zone is one too narrow",
        "hdl/synapse.py",
        "larger: Value = weight[-1]",
        "larger: Value = Const(1)",
        "synapse.update[4 bits, hidden]",
        "the vote is the sign of weight times error",
    ),
    Mutation(
        "a generator shifts the other way",
        "hdl/xorshift.py",
        "UPDATE_SHIFTS = (13, -17, 5)",
        "UPDATE_SHIFTS = (13, 17, 5)",
        "xorshift.definition[32 bits]",
        "the state that follows is the definition's",
    ),
    Mutation(
        "dropout compares with less or equal",
        "hdl/dropout.py",
        "_NUMBER_BITS) < self.probability",
        "_NUMBER_BITS) <= self.probability",
        "dropout.mask[7 neurons, 7 lanes]",
        "a neuron is left out by its number",
    ),
    Mutation(
        "a register takes one value too many",
        "hdl/registers.py",
        "value[:used] < values.stop",
        "value[:used] <= values.stop",
        "registers.accepted[inference]",
        "steps holds what it takes",
    ),
    Mutation(
        "a new threshold leaves the model valid",
        "hdl/registers.py",
        "if register.of_model:",
        "if register.of_model and not register.per_layer:",
        "registers.accepted[inference]",
        "model is what it was made, or as before",
    ),
    Mutation(
        "the queue has room too long",
        "hdl/scanner.py",
        "queue.level < self.depth - self.in_flight - 2",
        "queue.level < self.depth - self.in_flight",
        "scanner.room[16 places]",
        "a group finds a place",
    ),
    Mutation(
        "the highest spike goes first",
        "hdl/scanner.py",
        "send_token.index.eq(chunk_base + _position(_lowest(chunk_spikes)))",
        "send_token.index.eq(chunk_base + _position(chunk_spikes))",
        "scanner.order[5 lanes, 1 group]",
        "it is the neuron's",
    ),
    Mutation(
        "a row is read before its state is written",
        "hdl/layer.py",
        "write.addr.eq(update.group)",
        "write.addr.eq(fetch.group)",
        "layer.groups[3 neurons, 2 lanes]",
        "its membranes are right",
    ),
    Mutation(
        "the first token finds the sample before",
        "hdl/layer.py",
        "Mux(update.first, initial.as_value(), read.data[lane].as_value())",
        "read.data[lane].as_value()",
        "layer.groups[3 neurons, 1 lanes]",
        "its membranes are right",
    ),
    Mutation(
        "a step is sent before its last spike",
        "hdl/sequencer.py",
        "spike.eq(~map_end & (map_step == step))",
        "spike.eq(~map_end & (map_step == step + 1))",
        "sequencer.order",
        "no step ends too soon",
    ),
    Mutation(
        "an answer is given twice",
        "hdl/commands.py",
        "with m.If(answered & ~running):",
        "with m.If(answered & ~running & (seq != 0)):",
        "commands.answers",
        "no answer comes without a request",
    ),
    Mutation(
        "a sample is taken for another model",
        "hdl/sample_check.py",
        "other = self.arg != self.model",
        "other = self.arg != self.arg",
        "sample_check.refusals[inference]",
        "the first reason is told",
    ),
    Mutation(
        "an input that is not there may spike",
        "hdl/sample_reader.py",
        "outside.eq(index >= inputs)",
        "outside.eq(index > inputs)",
        "sample_reader.events",
        "the input is there",
    ),
    Mutation(
        "a word is written behind the last",
        "hdl/memory_streamer.py",
        "with m.If(beyond | (address >= size)):",
        "with m.If(beyond | (address > size)):",
        "memory_streamer.stable",
        "a word is in its region",
    ),
    Mutation(
        "a sample begins before the result is taken",
        "hdl/sequencer.py",
        "(lookup_take & (open_ | ~pending))",
        "lookup_take",
        "core.results",
        "no sample begins before the result is taken",
    ),
    Mutation(
        "the core is idle while a result waits",
        "hdl/sequencer.py",
        "self.idle.eq(~open_ & ~pending)",
        "self.idle.eq(~open_)",
        "core.results",
        "the core is idle between samples",
    ),
    Mutation(
        "the watchdog forgets to bark",
        "hdl/watchdog.py",
        "self.o_results.valid.eq(owed & (self.i_results.valid | late))",
        "self.o_results.valid.eq(owed & self.i_results.valid)",
        "watchdog.answers[limit 4]",
        "a result comes in time",
    ),
    Mutation(
        "an unknown operation is swallowed",
        "hdl/commands.py",
        "with m.Default():\n                            reply(Status.UNKNOWN_OPERATION)",
        'with m.Default():\n                            m.next = "head"',
        "commands.answers",
        "what is not answered is in the core or at hand",
    ),
    Mutation(
        "answers after the first name another number",
        "hdl/commands.py",
        "of_request = Cat(op | ANSWER, seq, number",
        "later = Signal()\n"
        "        with m.If(answered):\n"
        "            m.d.sync += later.eq(1)\n"
        "        of_request = Cat(op | ANSWER, seq ^ later.replicate(8), number",
        "commands.answers",
        "it names the sequence number",
        anywhere=True,
    ),
    Mutation(
        "a wrong sample is taken",
        "hdl/sample_reader.py",
        "with m.Elif(bad):",
        "with m.Elif(0):",
        "sample_reader.events",
        "it is taken if and only if it is right",
    ),
    Mutation(
        "a sample of a wrong length is taken",
        "hdl/sample_reader.py",
        "with m.If(Mux(self.bitmap, count != bitmap_bytes - 1, odd)):",
        "with m.If(0):",
        "sample_reader.events",
        "it is taken if and only if it is right",
    ),
    Mutation(
        "what was refused is told before a wrong length",
        "hdl/sample_reader.py",
        "with m.If(Mux(self.bitmap, count != bitmap_bytes - 1, odd)):",
        "with m.If(~self.refusal.any() & Mux(self.bitmap, count != bitmap_bytes - 1, odd)):",
        "sample_reader.events",
        "it is told why it is not",
    ),
    Mutation(
        "a word that is stored is not held",
        "hdl/memory_streamer.py",
        "self.memory.store.eq(1)\n                m.d.sync += timer.eq(FETCH_CYCLES - 2)",
        "self.memory.store.eq(1)\n                m.d.sync += timer.eq(0)",
        "memory_streamer.stable",
        "word and region are held",
    ),
    Mutation(
        "a byte is offered before it was fetched",
        "hdl/memory_streamer.py",
        "self.memory.fetch.eq(1)\n                m.d.sync += timer.eq(FETCH_CYCLES - 2)",
        "self.memory.fetch.eq(1)\n                m.d.sync += timer.eq(0)",
        "memory_streamer.stable",
        "a byte is offered when it is there",
    ),
    Mutation(
        "a sample begins in the step of the last",
        "hdl/sequencer.py",
        "                send_valid.eq(0),\n                step.eq(0),\n",
        "                send_valid.eq(0),\n",
        "sequencer.order",
        "no step ends too soon",
    ),
    Mutation(
        "the watchdog waits for events that cannot come in",
        "hdl/watchdog.py",
        "self.i_events.ready.eq(self.o_events.ready | late)",
        "self.i_events.ready.eq(self.o_events.ready | (late & owed))",
        "watchdog.answers[limit 8]",
        "an event comes in in time",
    ),
    Mutation(
        "an event is withdrawn when the core is busy",
        "hdl/watchdog.py",
        "self.o_events.valid.eq(self.i_events.valid & ~late)",
        "self.o_events.valid.eq(self.i_events.valid & ~late & self.idle)",
        "watchdog.answers[limit 4]",
        "an event stays until it is taken, or a reset",
    ),
    Mutation(
        "the watchdog counts while a result waits",
        "hdl/watchdog.py",
        "with m.Elif(~late & ~self.o_results.valid):",
        "with m.Elif(~late):",
        "watchdog.patience[limit 4]",
        "it is not reset",
    ),
    Mutation(
        "a slot is read as it is written",
        "hdl/packet_buffer.py",
        "read.en.eq((tail != base) &",
        "read.en.eq((tail != pushed) &",
        "packet_buffer.order[4 slots]",
        "no slot is read in the cycle in which it is written",
    ),
    Mutation(
        "a full buffer stays full",
        "hdl/packet_buffer.py",
        "m.d.sync += full.eq(Mux(push, (head + 1)[: len(head)] == limit, head == limit))",
        "m.d.sync += full.eq(full | Mux(push, (head + 1)[: len(head)] == limit, head == limit))",
        "packet_buffer.progress[4 slots]",
        "room is offered",
    ),
    Mutation(
        "an item makes way for the next",
        "hdl/packet_buffer.py",
        "(tail != base) & (self.o.ready | ~self.o.valid)",
        "tail != base",
        "packet_buffer.stable[8 slots]",
        "valid and payload stay",
    ),
    Mutation(
        "a verdict waits for its reader",
        "hdl/cobs.py",
        "self.o.p.good.eq(is_code)",
        "self.o.p.good.eq(is_code & self.o.ready)",
        "cobs.stable",
        "valid and payload stay",
    ),
    Mutation(
        "a coded byte gives way to one that comes",
        "hdl/cobs.py",
        "connect(m, runs.o, wiring.flipped(self.o))",
        "m.d.comb += [\n"
        "            self.o.payload.eq(runs.o.payload),\n"
        "            self.o.valid.eq(runs.o.valid & ~self.i.valid),\n"
        "            runs.o.ready.eq(self.o.ready),\n"
        "        ]",
        "cobs.encoder_stable",
        "valid and payload stay",
    ),
    Mutation(
        "a byte for the line gives way to one that comes",
        "hdl/framing.py",
        "connect(m, encoder.o, wiring.flipped(self.o))",
        "m.d.comb += [\n"
        "            self.o.payload.eq(encoder.o.payload),\n"
        "            self.o.valid.eq(encoder.o.valid & ~self.i.valid),\n"
        "            encoder.o.ready.eq(self.o.ready),\n"
        "        ]",
        "framing.framer_stable",
        "valid and payload stay",
    ),
    Mutation(
        "what found no room is remembered too long",
        "hdl/framing.py",
        "m.d.sync += [count.eq(0), lost.eq(0)]",
        "m.d.sync += count.eq(0)",
        "framing.idle",
        "lost is as after a reset",
    ),
    Mutation(
        "neurons begin with what they were",
        "hdl/layer.py",
        "clear.eq(issue_first & ~issue_valid)",
        "clear.eq(0)",
        "layer.arithmetic[2 neurons, 2 lanes]",
        "its membranes are right",
    ),
    Mutation(
        "a way is left out",
        "hdl/layer.py",
        "terms[first : first + 4]",
        "terms[first : first + 3]",
        "layer.gather[4 ways]",
        "it is the sum of the weights",
    ),
    Mutation(
        "the weights of several ways overflow",
        "hdl/neuron.py",
        "layer.weight_bits + (layer.ways - 1).bit_length()",
        "layer.weight_bits",
        "neuron.arithmetic[b=3 i=8 v=10 k=2, 4 ways]",
        "the current is the specification's",
    ),
    Mutation(
        "every register can be written",
        "hdl/registers.py",
        'answer["writable"].eq(register.writable)',
        'answer["writable"].eq(1)',
        "registers.answers[inference]",
        "it can be written or not",
    ),
    Mutation(
        "a counter counts every cycle",
        "hdl/registers.py",
        "count.eq(count + happened)",
        "count.eq(count + 1)",
        "registers.answers[inference]",
        "it holds what it holds",
    ),
    Mutation(
        "an error goes to all lanes",
        "hdl/errors.py",
        "with m.If(self.i.enable[lane]):",
        "with m.If(self.i.enable.any()):",
        "popcount.memory[1 group]",
        "the last is read",
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
    command += ["--claim", mutation.claim, "--keep", str(folder / "proof")]
    command += ["--anywhere"] * mutation.anywhere
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

    find("yosys").prepare()
    left, total = 0, 0.0
    print("| bug | caught by | its claim | from | s |\n|---|---|---|---|---|")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for mutation, (reason, seconds) in zip(chosen, pool.map(attempt, chosen), strict=True):
            where = "SURVIVES" if reason else f"`{mutation.caught_by}`"
            start = "anywhere" if mutation.anywhere else "the reset"
            row = mutation.name, where, mutation.claim, start, f"{seconds:.0f}"
            print(f"| {' | '.join(row)} |", flush=True)
            total += seconds
            if reason:
                left += 1
                print(f"{mutation.name}: {reason}", file=sys.stderr)
    print(f"\n{len(chosen) - left} of {len(chosen)} caught, {total:.0f} s")
    return 1 if left or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
