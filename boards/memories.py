"""Every memory of a design, found in the design itself, and the plan made of them."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ..firmware.config import Config
from .board import PlannedMemory

__all__ = ["SHAPES_OF_18K", "Rule", "fewest_blocks", "plan"]

#: Words of a block RAM of 18 kbit by their width.
SHAPES_OF_18K = {36: 512, 18: 1_024, 9: 2_048, 4: 4_096, 2: 8_192, 1: 16_384}

#: Gives for a memory of so many words and bits, and whether it can be written, its kind and how
#: many blocks of it that takes.
Rule = Callable[[int, int, bool], tuple[str, int]]

_LINE = re.compile(
    r"^module \\(?P<module>\S+)|"
    r"^  attribute \\ram_style \"(?P<style>\w+)\"|"
    r"^  memory width (?P<bits>\d+) size (?P<words>\d+) \\(?P<memory>\S+)|"
    r"^  cell (?P<cell>\S+) |"
    r"^    parameter \\MEMID \"\\\\(?P<written>\S+)\"|"
    r"^    connect \\EN (?P<enable>.*)$",
    re.MULTILINE,
)
_BITS = re.compile(r"(?P<name>\S+) \[(?P<high>\d+)(?::(?P<low>\d+))?\]")


def fewest_blocks(words: int, bits: int, shapes: Mapping[int, int]) -> int:
    """Block RAMs that a memory takes in the shape that suits it best.

    Parameters
    ----------
    words, bits : int
        Of a word each.
    shapes : mapping
        Words of a block RAM by their width.
    """
    return min(-(-bits // width) * -(-words // depth) for width, depth in shapes.items())


def plan(
    config: Config, memories: Callable[[Any], Any], rule: Rule, primitives: dict[str, str]
) -> list[PlannedMemory]:
    """The memories of an accelerator for ``config``.

    Parameters
    ----------
    config : Config
    memories : callable
        Makes the weight memory of a region.
    rule : callable
        For memories that are left to the tools; see :data:`Rule`.
    primitives : dict
        Kind of memory by type of cell, for those that are made of primitives in the design. They
        are one memory for each component that has some, whose words and bits are not told.
    """
    from amaranth.back import rtlil

    from ..hdl.accelerator import Accelerator

    accelerator = Accelerator(config, clock_hz=0, memories=memories)
    text = rtlil.convert(accelerator, name="top", emit_src=False)
    found: list[tuple[str, str, int, int]] = []
    # Those that are to be block RAM whatever they would cost otherwise.
    blocks_only: set[tuple[str, str]] = set()
    counts: Counter[tuple[str, str]] = Counter()
    # Of each memory that is written: how many bits each of its enables writes.
    written: dict[tuple[str, str], Counter[tuple[str, int]]] = {}
    module = memory = style = ""
    writes = False
    for match in _LINE.finditer(text):
        if match["module"]:
            module = match["module"].partition(".")[2]
        elif match["memory"]:
            found.append((module, match["memory"], int(match["words"]), int(match["bits"])))
            if style == "block":
                blocks_only.add((module, match["memory"]))
            style = ""
        elif match["style"]:
            style = match["style"]
        elif match["cell"]:
            writes = match["cell"].startswith("$memwr")
            if match["cell"].removeprefix("\\") in primitives:
                counts[module, primitives[match["cell"].removeprefix("\\")]] += 1
        elif match["written"]:
            memory = match["written"]
        elif writes:
            written[module, memory] = _enables(match["enable"])
    planned = []
    for where, name, words, bits in found:
        enables = written.get((where, name), Counter())
        kind, blocks = rule(words, bits, bool(enables) and (where, name) not in blocks_only)
        if len(enables) > 1:
            # What is written in parts is as many memories side by side.
            parts = [rule(words, width, True) for width in enables.values()]
            kind, blocks = parts[0][0], sum(part for _, part in parts)
        planned.append(PlannedMemory(f"{where}.{name}", words, bits, kind, blocks))
    planned += [PlannedMemory(where, 0, 0, kind, n) for (where, kind), n in counts.items()]
    return sorted(planned, key=lambda memory: memory.name)


def _enables(text: str) -> Counter[tuple[str, int]]:
    """How many bits each enable writes, by its name and index in the text of RTLIL."""
    enables: Counter[tuple[str, int]] = Counter()
    for match in _BITS.finditer(text):
        high = int(match["high"])
        for bit in range(int(match["low"] or high), high + 1):
            enables[match["name"], bit] += 1
    return enables
