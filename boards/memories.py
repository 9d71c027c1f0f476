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
    r"^  memory width (?P<bits>\d+) size (?P<words>\d+) \\(?P<memory>\S+)|"
    r"^  cell (?P<cell>\S+) ",
    re.MULTILINE,
)


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
    counts: Counter[tuple[str, str]] = Counter()
    written = set()
    module = ""
    for match in _LINE.finditer(text):
        if match["module"]:
            module = match["module"].partition(".")[2]
        elif match["memory"]:
            found.append((module, match["memory"], int(match["words"]), int(match["bits"])))
        elif match["cell"].startswith("$memwr"):
            written.add(module)
        elif match["cell"].removeprefix("\\") in primitives:
            counts[module, primitives[match["cell"].removeprefix("\\")]] += 1
    planned = [
        PlannedMemory(f"{where}.{name}", words, bits, *rule(words, bits, where in written))
        for where, name, words, bits in found
    ]
    planned += [PlannedMemory(where, 0, 0, kind, n) for (where, kind), n in counts.items()]
    return sorted(planned, key=lambda memory: memory.name)
