"""The protocol as a C header for the driver: ``python -m firstspike.firmware.c_header`` writes it.

Everything in it comes from the tables of framing, protocol, registers and packed models.
"""

import re
import struct
import textwrap
from collections.abc import Iterator
from pathlib import Path

from . import packed, protocol
from .framing import FRAME_OVERHEAD, HEAD
from .protocol import ANSWER, PROTOCOL_VERSION, Hello, Op, Outcome, Status
from .registers import REGISTERS

__all__ = ["PATH", "c_header"]

#: The header that the driver includes.
PATH = Path(__file__).with_name("c") / "firstspike_protocol.h"

#: Lines of the header are no longer than others of the project.
_SENTENCE_COLUMNS = 84

_COUNTERS = [register for register in REGISTERS if not register.writable]


def c_header() -> str:
    """The text of the header."""
    sections = [
        _framing(),
        _operations(),
        _statuses(),
        _greeting_and_outcome(),
        _samples(),
        _registers(),
        _counters(),
        _packed_models(),
    ]
    body = "\n\n".join("\n".join(section) for section in sections)
    return f"""\
/*
 * The protocol between host and device, see docs/link.md.
 * Made by `python -m firstspike.firmware.c_header`; do not edit.
 */

#ifndef FIRSTSPIKE_PROTOCOL_H
#define FIRSTSPIKE_PROTOCOL_H

#include <stdint.h>

{body}

#endif
"""


def _define(name: str, value: object = "", comment: str = "") -> str:
    text = f"#define FIRSTSPIKE_{name} {value}".rstrip()
    return f"{text} /* {comment} */" if comment else text


def _layout(prefix: str, layout: struct.Struct, names: str) -> Iterator[str]:
    """Offsets of the fields of ``layout``, its size, and the sizes of those that are strings."""
    fields = [code for code in re.findall(r"\d*[a-zA-Z]", layout.format) if not code.endswith("x")]
    starts = re.finditer(r"\d*[a-wyzA-Z]", layout.format)
    for name, code, start in zip(names.split(), fields, starts, strict=True):
        yield _define(f"{prefix}_{name}", struct.calcsize(layout.format[: start.start()]))
        if code.endswith("s"):
            yield _define(f"{prefix}_{name}_BYTES", struct.calcsize(code))
    yield _define(f"{prefix}_BYTES", layout.size)


def _framing() -> list[str]:
    return [
        "/* Frames */",
        "",
        _define("PROTOCOL_VERSION", PROTOCOL_VERSION),
        _define("HEAD_BYTES", HEAD.size, "op, seq, arg"),
        _define("FRAME_OVERHEAD", FRAME_OVERHEAD, "head and CRC"),
        _define("ANSWER", f"0x{ANSWER:02x}", "set in op of an answer"),
    ]


def _operations() -> list[str]:
    entries = [f"    FIRSTSPIKE_{op.name} = 0x{op:02x}" for op in Op]
    return ["enum firstspike_op {", ",\n".join(entries), "};"]


def _statuses() -> list[str]:
    """A list to be expanded: error codes and their sentences are made from it."""
    refusals = [status for status in Status if status]
    entries = [f"    STATUS({status.name}, {status.value},{_text(status)})" for status in refusals]
    return [
        "/* What a request is refused with: STATUS(name, number, sentence). */",
        "#define FIRSTSPIKE_STATUSES(STATUS) \\",
        " \\\n".join(entries),
        "",
        _define("STATUS_END", max(refusals) + 1, "statuses that this release knows are below"),
    ]


def _text(status: Status) -> str:
    """The sentence of a status as string literals, in lines of a macro."""
    lines = textwrap.wrap(status.sentence, _SENTENCE_COLUMNS, drop_whitespace=False)
    return "".join(f' \\\n           "{line}"' for line in lines)


def _magic(text: bytes) -> str:
    return f"0x{int.from_bytes(text, 'little'):08x}u /* {text.decode()} */"


def _greeting_and_outcome() -> list[str]:
    hello = "MAGIC VERSION DIGEST CLOCK_HZ BUILD BUFFER_BYTES RELEASE"
    return [
        "/* Offsets in a greeting, and in an outcome; a u16 of rows a layer follows it. */",
        "",
        _define("DEVICE_MAGIC", _magic(Hello._MAGIC)),
        *_layout("HELLO", Hello._HEAD, hello),
        "",
        *_layout("OUTCOME", Outcome._HEAD, "CYCLES LABEL STEP FLAGS"),
    ]


def _samples() -> list[str]:
    learning = protocol.learning_argument(1, 0)
    numbers = protocol.learning_argument(0, 0xFFFFFFFF)
    region = protocol.memory_address(1, 0)
    return [
        "/* Samples and memories */",
        "",
        _define("STEP_WORD", f"0x{protocol._STEP_WORD:04x}u", "set in a word that opens a step"),
        _define("LEARNING_ARGUMENT(label, number) \\"),
        f"    ((uint32_t)(label) * 0x{learning:x}u | ((number) & 0x{numbers:x}u))",
        _define("MEMORY_ADDRESS(region, word)", f"((uint32_t)(region) * 0x{region:x}u | (word))"),
        _define("MOST_WORDS", f"0x{region:x}u", "words that a region can have"),
    ]


def _registers() -> list[str]:
    lines = ["/* Registers */", ""]
    # Those of the layers follow one another, up to the next register.
    first = next(register.address for register in REGISTERS if register.per_layer)
    after = min(register.address for register in REGISTERS if register.address > first)
    lines += [_define("MOST_LAYERS", after - first, "that a device has registers for"), ""]
    for register in REGISTERS:
        name, address = f"REGISTER_{register.name.upper()}", f"0x{register.address:02x}u"
        if register.per_layer:
            name, address = f"{name}(layer)", f"({address} + (layer))"
        lines += [f"/* {register.text} */", _define(name, address)]
    return lines


def _counters() -> list[str]:
    entries = [f"    FIRSTSPIKE_{register.name.upper()}" for register in _COUNTERS]
    addresses = ", ".join(f"0x{register.address:02x}" for register in _COUNTERS)
    return [
        "enum firstspike_counter {",
        ",\n".join([*entries, "    FIRSTSPIKE_COUNTERS"]),
        "};",
        "",
        _define("COUNTER_ADDRESSES", f"{{{addresses}}}"),
    ]


def _packed_models() -> list[str]:
    return [
        "/* Offsets in a packed model, see firmware/packed.py */",
        "",
        _define("MODEL_MAGIC", _magic(packed.MAGIC)),
        _define("MODEL_FORMAT", packed.FORMAT),
        *_layout("PACKED", packed.HEAD, "MAGIC VERSION SETTINGS REGIONS DIGEST CRC"),
        *_layout("PACKED_SETTING", packed.SETTING, "ADDRESS VALUE"),
        *_layout("PACKED_REGION", packed.REGION, "WORDS WORD_BYTES CRC"),
    ]


if __name__ == "__main__":
    PATH.write_text(c_header())
