"""Code and memory that the C driver takes on microcontrollers.

    python bench/driver_size.py             the table of docs/c-driver.md
    python bench/driver_size.py --json

Compiles the driver with clang (``ziglang`` from PyPI) for size, each function in a section of its
own as firmware does it. Flash is code and constants of a linked image, with what it takes of the
compiler's runtime, such as division and ``memset``: of everything, and of what is left when the
linker keeps just what firmware calls that loads a model and infers. Stack is that of the deepest
chain of calls; it adds up what the compiler says each function takes, over the calls that the
relocations show. What the functions of the caller and the runtime take, below the driver's, comes
on top.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from elftools.elf.constants import SH_FLAGS  # pip install pyelftools
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

DRIVER = Path(__file__).parents[1] / "firmware" / "c"

TARGETS = {
    "Cortex-M0+": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus"),
    "Cortex-M3": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m3"),
    "Cortex-M4": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4"),
    "RV32IMC": ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c"),
}
FLAGS = ("-std=c99", "-Os", "-ffunction-sections", "-fdata-sections", "-fstack-size-section")

#: Sections that firmware does without: nothing is unwound.
UNWINDING = (".ARM", ".eh_frame")

#: What most firmware calls.
INFERENCE = ("init", "connect", "load", "infer_many", "error_text")

#: Where images begin; it is called by any firmware.
INIT = "firstspike_init"

#: Calls through pointers, which no relocation shows: callers, the first that is not inlined, and
#: the beginnings of the names of what they call.
POINTERS = (
    (("launch",), ("make_",)),
    (("settle", "match", "listen", "firstspike_exchange"), ("take_",)),
    (("firstspike_each_region",), ("update_region", "check_region", "fill_region")),
    (("each_setting",), ("check_setting", "firstspike_write_register")),
)

_CONTEXT = (
    '#include "firstspike.h"\nextern struct firstspike context;\nstruct firstspike context;\n'
)

#: A section: the file that it is in, and its number there.
Section = tuple[str, int]


@dataclass
class Program:
    """Sections of object files; functions and constants have one each.

    Parameters
    ----------
    sections : set
        Those that a program has in memory.
    stacks : dict
        Bytes of stack of each function.
    references : dict
        What each section refers to: sections of the same file, and symbols of others.
    symbols : dict
        Section of each symbol that other files may refer to.
    functions : list
        Name and section of each function.
    """

    sections: set[Section] = field(default_factory=set)
    stacks: dict[Section, int] = field(default_factory=dict)
    references: dict[Section, set[Section | str]] = field(default_factory=lambda: defaultdict(set))
    symbols: dict[str, Section] = field(default_factory=dict)
    functions: list[tuple[str, Section]] = field(default_factory=list)

    def add(self, name: str, file: ELFFile) -> None:
        """Take an object file in."""
        for number, section in enumerate(file.iter_sections()):
            flags = section["sh_flags"]
            if flags & SH_FLAGS.SHF_ALLOC and not section.name.startswith(UNWINDING):
                self.sections.add((name, number))
            if isinstance(section, SymbolTableSection):
                self._add_symbols(name, section)
        for section in file.iter_sections():
            if not isinstance(section, RelocationSection):
                continue
            about = section["sh_info"]
            symbols = file.get_section(section["sh_link"])
            for relocation in section.iter_relocations():
                symbol = symbols.get_symbol(relocation["r_info_sym"])
                home = symbol["st_shndx"]
                target = (name, home) if isinstance(home, int) else symbol.name
                if file.get_section(about).name == ".stack_sizes":
                    self.stacks[name, home] = _stack_size(file.get_section(about).data())
                elif (name, about) in self.sections:
                    self.references[name, about].add(target)

    def _add_symbols(self, name: str, table: SymbolTableSection) -> None:
        for symbol in table.iter_symbols():
            home = symbol["st_shndx"]
            if not isinstance(home, int):
                continue
            if symbol["st_info"]["bind"] == "STB_GLOBAL":
                self.symbols[symbol.name] = (name, home)
            if symbol["st_info"]["type"] == "STT_FUNC":
                self.functions.append((symbol.name, (name, home)))

    def link_pointers(self) -> None:
        """Add the calls through pointers."""
        by_name = dict(self.functions)
        for callers, beginnings in POINTERS:
            caller = next(by_name[name] for name in callers if name in by_name)
            self.references[caller] |= {
                section for name, section in self.functions if name.startswith(beginnings)
            }

    def below(self, section: Section) -> set[Section]:
        """Sections that one refers to; what the compiler's runtime brings is left out."""
        resolved = (
            self.symbols.get(target) if isinstance(target, str) else target
            for target in self.references[section]
        )
        # Branches within a function are references to itself.
        return {target for target in resolved if target in self.sections and target != section}

    def stack(self, section: Section) -> int:
        """Bytes of stack of a function and of the deepest chain of calls below it."""
        callees = (callee for callee in self.below(section) if callee in self.stacks)
        return self.stacks[section] + max(map(self.stack, callees), default=0)


def _stack_size(data: bytes) -> int:
    """The number behind the address in an entry of the section of stack sizes, as LEB128."""
    return sum((byte & 0x7F) << 7 * index for index, byte in enumerate(data[4:]))


def compile_with(target: tuple[str, ...], output: Path, *arguments: str | Path) -> ELFFile:
    """Compile or link for a target."""
    command = [sys.executable, "-m", "ziglang", "cc", *target, *FLAGS, f"-I{DRIVER}"]
    subprocess.run([*command, *arguments, "-o", output], check=True)
    return ELFFile(io.BytesIO(output.read_bytes()))


def context_bytes(target: tuple[str, ...], folder: Path) -> int:
    """Size of ``struct firstspike``."""
    source = folder / "context.c"
    source.write_text(_CONTEXT)
    file = compile_with(target, folder / "context", "-c", source)
    (symbol,) = file.get_section_by_name(".symtab").get_symbol_by_name("context")
    return int(symbol["st_size"])


def flash_bytes(target: tuple[str, ...], folder: Path, calls: Iterable[str]) -> int:
    """Code and constants of an image of the objects in a folder, of what some functions need."""
    keep = [f"-Wl,-u,{name}" for name in calls]
    entry = f"-Wl,--gc-sections,-e,{INIT}"
    file = compile_with(target, folder / "image", entry, *keep, *sorted(folder.glob("*.o")))
    return sum(
        section["sh_size"]
        for section in file.iter_sections()
        if section["sh_flags"] & SH_FLAGS.SHF_ALLOC
        and section["sh_type"] != "SHT_NOBITS"
        and not section.name.startswith(UNWINDING)
    )


def measure(target: tuple[str, ...]) -> dict[str, int]:
    """Bytes of flash, context and stack on one target."""
    with tempfile.TemporaryDirectory() as name:
        return _measure(target, Path(name))


def _measure(target: tuple[str, ...], folder: Path) -> dict[str, int]:
    program = Program()
    for source in sorted(DRIVER.glob("*.c")):
        output = folder / f"{source.stem}.o"
        program.add(source.name, compile_with(target, output, "-c", source))
    program.link_pointers()
    entries = [name for name in program.symbols if name.startswith("firstspike_")]
    inference = [f"firstspike_{name}" for name in INFERENCE]
    return {
        "flash_all": flash_bytes(target, folder, entries),
        "flash_inference": flash_bytes(target, folder, inference),
        "context": context_bytes(target, folder),
        "stack": max(program.stack(program.symbols[name]) for name in entries),
        "stack_inference": program.stack(program.symbols["firstspike_infer_many"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = {name: measure(target) for name, target in TARGETS.items()}
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print("| bytes | flash, everything | flash, load and infer | context | stack | stack, infer |")
    print("|---|---|---|---|---|---|")
    for name, values in figures.items():
        print(row(name, values))


def row(name: str, values: dict[str, int]) -> str:
    """A row of the table."""
    return f"| {name} | " + " | ".join(f"{value:,}" for value in values.values()) + " |"


if __name__ == "__main__":
    main()
