"""Devices: load a model, classify samples, look inside.

A board, its cycle-accurate simulation and the golden model behind the same link are used alike.
"""

import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from .compile import compile
from .firmware.config import DEFAULT_BUFFER_BYTES, Config, Region
from .firmware.errors import (
    ConfigurationMismatch,
    DataError,
    DeviceLost,
    LinkError,
    NoReply,
    PortError,
)
from .firmware.formats import NEVER
from .firmware.image import Image
from .firmware.layout import unpack_row_map
from .firmware.network import Network
from .firmware.protocol import Hello, Op, Outcome, encode_sample, memory_address
from .firmware.registers import Register, register_map, register_values
from .link import Link, Request, Statistics
from .suggest import suggest
from .transport import (
    DEFAULT_BAUD,
    VIRTUAL_BAUD,
    SerialTransport,
    Transport,
    is_virtual,
    open_virtual,
    virtual_config,
)

__all__ = ["Device", "Result", "open"]

_T = TypeVar("_T")

_U32 = struct.Struct("<I")

#: Seconds of silence before a frame is sent again, on top of what a full buffer takes on the line.
_PATIENCE = 1.0

#: Seconds between two attempts to find a lost device again.
_RECONNECT_INTERVAL = 0.1


@dataclass(frozen=True, eq=False)
class Result:
    """What a device says about a batch of samples.

    Parameters
    ----------
    label : (batch,) int32
        The output that was decided for.
    step : (batch,) int32
        Decision step, 0 … T−1.
    fired : (batch,) bool
        Whether an output spiked; without, the decision is the highest membrane in step T−1.
    cycles : (batch,) int64
        Clock cycles from the first event of the sample to the decision; 0 from ``model:``.
    rows : (batch, layers) int32
        Weight rows that each layer fetched.
    """

    label: np.ndarray
    step: np.ndarray
    fired: np.ndarray
    cycles: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def blank(cls, batch: int, layers: int) -> Self:
        """Return a result of ``batch`` samples to fill."""
        return cls(
            label=np.zeros(batch, dtype=np.int32),
            step=np.zeros(batch, dtype=np.int32),
            fired=np.zeros(batch, dtype=bool),
            cycles=np.zeros(batch, dtype=np.int64),
            rows=np.zeros((batch, layers), dtype=np.int32),
        )


def open(
    port: str,
    *,
    baud: int | None = None,
    config: Config | None = None,
    timeout: float | None = None,
    retries: int = 8,
    reconnect: float = 5.0,
) -> "Device":
    """Open a device; see :class:`Device` for the parameters and errors."""
    return Device(
        port, baud=baud, config=config, timeout=timeout, retries=retries, reconnect=reconnect
    )


class Device:
    """A board or a stand-in for one, ready to be loaded and asked.

    It is a context manager, which closes the port. An interruption (Ctrl-C) leaves it usable.

    Parameters
    ----------
    port : str
        ``/dev/ttyUSB1``, a pyserial URL such as ``socket://host:4000``, ``model:`` for the golden
        model, ``sim:`` for the compiled cycle-accurate simulation or ``netlist:BOARD`` for that of
        what synthesis makes for a board. The latter three are built for ``config``, or without it
        for the first model that is loaded.
    baud : int, optional
        Baud rate of the line. Default: 1 M on a port, 12 M where the board is virtual.
    config : Config, optional
        What the device is expected to be built for.
    timeout : float, optional
        Seconds of silence after which a request is sent again. Default: what the port calls for.
    retries : int
        Times that one request is sent again when it gets lost.
    reconnect : float
        Seconds to wait for a device that went away to come back; 0 for none.

    Raises
    ------
    PortError
        If the port cannot be opened.
    NoReply
        If nothing that makes sense answers.
    ConfigurationMismatch
        If the device speaks another protocol version or is not built for ``config``.
    BuildError
        If the simulation's tools are missing or fail.
    """

    def __init__(
        self,
        port: str,
        *,
        baud: int | None = None,
        config: Config | None = None,
        timeout: float | None = None,
        retries: int = 8,
        reconnect: float = 5.0,
    ) -> None:
        self._port = port
        default = VIRTUAL_BAUD if is_virtual(port) else DEFAULT_BAUD
        self._baud = default if baud is None else baud
        self._timeout = timeout
        self._retries = retries
        self._reconnect = reconnect
        self._image: Image | None = None
        self._connection: tuple[Link, Hello] | None = None
        if config is not None or not is_virtual(port):
            self._connect(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back; closing twice does nothing."""
        if self._connection is not None:
            self._connection[0].close()

    # What the device is

    @property
    def port(self) -> str:
        """The port as it was given."""
        return self._port

    @property
    def info(self) -> Hello:
        """The device's account of itself: configuration, clock, release, build, protocol version.

        Raises
        ------
        LinkError
            If this is ``model:`` or ``sim:`` and nothing says yet what to build.
        """
        return self._connected()[1]

    @property
    def config(self) -> Config:
        """What the device is built for; raises what :attr:`info` does."""
        return self.info.config

    @property
    def image(self) -> Image | None:
        """The image that was loaded from here, if any."""
        return self._image

    @property
    def link(self) -> Link:
        """The link, for requests that have no method here; raises what :attr:`info` does."""
        return self._link

    @property
    def statistics(self) -> Statistics:
        """Counts of the link since the port was opened; raises what :attr:`info` does."""
        return self._link.statistics

    # Models

    def load(self, model: Image | Network, *, progress: bool = False) -> Image:
        """Load a model, verify every byte of it and mark it as valid.

        Only what differs from the device's memory is sent. The register ``model`` is 0 from the
        start until all memories have been verified by their CRC and all registers by reading them
        back; then it holds the image's CRC.

        Parameters
        ----------
        model : Image or Network
            A network is compiled for the device first.
        progress : bool
            Show a progress bar on standard error if that is a terminal.

        Returns
        -------
        Image
            What was loaded.

        Raises
        ------
        ConfigurationMismatch
            If the image was compiled for another configuration.
        CapacityError
            If the network does not fit the device.
        LinkError
            If the device holds something else after all, or one of its subclasses if it is lost.
        """
        if self._connection is None:
            self._connect(
                model.config if isinstance(model, Image) else virtual_config(self._port, model)
            )
        image = model if isinstance(model, Image) else compile(model, self.config)
        _demand(image.config, self.config, f"{self._port} cannot take this image")
        self._persistently(lambda: self._load(image, progress))
        return image

    def _load(self, image: Image, progress: bool) -> None:
        from tqdm import tqdm

        self._image = None
        self.write_register("model", 0)
        total = sum(region.bytes for region in self.config.regions)
        with tqdm(
            total=total, desc="load", unit="B", unit_scale=True, disable=None if progress else True
        ) as bar:
            for number, region in enumerate(self.config.regions):
                self._fill(number, region, image.regions[region.name], bar)
        for name, value in image.registers.items():
            self.write_register(name, value)
        for number, region in enumerate(self.config.regions):
            if self._crc(number, 0, region.words) != zlib.crc32(image.regions[region.name]):
                raise LinkError(
                    f"{self._port} holds other bytes in {region.name} than were written; its "
                    "memory is faulty or was built too fast, so rebuild it for a lower clock"
                )
        for name, value in image.registers.items():
            if (held := self.read_register(name)) != value:
                raise LinkError(
                    f"{self._port} holds {held} in register {name}, but {value} was written; "
                    "rebuild the bitstream with this release"
                )
        self.write_register("model", image.crc)
        self._image = image

    def _fill(self, number: int, region: Region, data: bytes, bar: Any) -> None:
        """Write the parts of a region that differ from ``data``."""
        if self._crc(number, 0, region.words) == zlib.crc32(data):
            bar.update(len(data))
            return
        spans = self._spans(region)
        parts = {
            word: data[word * region.lanes : (word + count) * region.lanes] for word, count in spans
        }
        crcs = self._link.stream(
            Request(Op.MEMORY_CRC, memory_address(number, word), _U32.pack(count))
            for word, count in spans
        )
        differing = []
        for (word, _), answer in zip(spans, crcs, strict=True):
            if _number(answer) == zlib.crc32(parts[word]):
                bar.update(len(parts[word]))
            else:
                differing.append(word)
        written = self._link.stream(
            Request(Op.WRITE_MEMORY, memory_address(number, word), parts[word])
            for word in differing
        )
        for word, _ in zip(differing, written, strict=True):
            bar.update(len(parts[word]))

    # Inference

    def infer(self, samples: np.ndarray, *, progress: bool = False) -> Result:
        """Classify samples with the model that is loaded.

        Requests are streamed, as many at once as the device holds. A device that goes away is
        waited for and, once it is back, loaded again if need be; the batch continues where it was.

        Parameters
        ----------
        samples : (batch, inputs) integers
            Spike step of each input, 0 … T−1, or ``NEVER``. One sample may be (inputs,). Where
            the device is built for more inputs, the missing ones do not spike.
        progress : bool
            Show a progress bar on standard error if that is a terminal.

        Raises
        ------
        DataError
            If the samples do not suit the model.
        LinkError
            If no model is loaded, or the device was reset or loaded by others in between; one of
            its subclasses if the device is lost for good.
        """
        from tqdm import tqdm

        model = self._persistently(self._verify_model)
        samples = self._persistently(lambda: self._check(samples))
        result = Result.blank(len(samples), len(self.config.layers))
        done = 0
        resumed = -1
        with tqdm(
            total=len(samples), desc="infer", unit="img", disable=None if progress else True
        ) as bar:
            while done < len(samples):
                try:
                    for outcome in self._outcomes(samples[done:]):
                        result.label[done] = outcome.label
                        result.step[done] = outcome.step
                        result.fired[done] = outcome.fired
                        result.cycles[done] = outcome.cycles
                        result.rows[done] = outcome.rows
                        done += 1
                        bar.update()
                except DeviceLost as lost:
                    if done == resumed:
                        raise
                    self._find_again(lost)
                    resumed = done
        if self._persistently(self._verify_model) != model:
            raise LinkError(
                f"{self._port} was loaded with another model in the middle of the batch, so its "
                "answers cannot be trusted; use it from one program at a time"
            )
        return result

    def _outcomes(self, samples: np.ndarray) -> Iterator[Outcome]:
        """Yield the outcome of each sample."""
        requests = (Request(op, payload=payload) for op, payload in map(encode_sample, samples))
        layers = len(self.config.layers)
        for payload in self._link.stream(requests):
            try:
                yield Outcome.decode(payload, layers)
            except DataError as error:
                raise LinkError(f"{self._port}: {error}") from error

    def _check(self, samples: np.ndarray) -> np.ndarray:
        """Return samples as (batch, inputs of the device) or raise DataError."""
        samples = np.atleast_2d(np.asarray(samples))
        built = self.config.inputs
        # Beyond the last input that has a row there is nothing to lose.
        used = 1
        if self._image is not None:
            rows = unpack_row_map(self._image.regions["row_map"], self.config)
            used = int(np.flatnonzero(rows >= 0).max(initial=0)) + 1
        if samples.ndim != 2 or not used <= samples.shape[1] <= built:
            raise DataError(
                f"samples have shape {samples.shape}, but the model on {self._port} needs "
                f"(batch, {built}); encode images to spike steps first"
            )
        if samples.dtype.kind not in "iu":
            raise DataError(f"samples have dtype {samples.dtype}, but spike steps are integers")
        steps = self.read_register("steps")
        if samples.size and not (samples.min() >= NEVER and samples.max() < steps):
            raise DataError(
                f"spike steps run from {samples.min()} to {samples.max()}, but the model on "
                f"{self._port} runs steps 0 to {steps - 1} (and -1 for an input that does not "
                "spike)"
            )
        self.config.check_samples(samples)
        missing = built - samples.shape[1]
        return np.pad(samples.astype(np.int32), ((0, 0), (0, missing)), constant_values=NEVER)

    def _verify_model(self) -> int:
        """Return the CRC of the model that the device holds, or raise if it is not ours."""
        held = self.read_register("model")
        if self._image is not None and held != self._image.crc:
            raise LinkError(
                f"{self._port} no longer holds the model that was loaded; it was reset, or loaded "
                "by another program, so load the model again"
            )
        if not held:
            raise LinkError(f"no model is loaded on {self._port}; load one first")
        return held

    # Looking inside

    def read_register(self, name: str) -> int:
        """Read a register by its name, such as ``steps`` or ``threshold_1``.

        Raises
        ------
        DataError
            If there is no such register.
        """
        address, _ = self._register(name)
        return _number(self._link.call(Request(Op.READ_REGISTER, address)))

    def write_register(self, name: str, value: int) -> None:
        """Write a register; what it changes, ``load`` no longer vouches for.

        Raises
        ------
        DataError
            If there is no such register, it cannot be written or the value is out of its range.
        """
        address, register = self._register(name)
        if not register.writable:
            raise DataError(f"register {name} cannot be written")
        allowed = register_values(self.config)[name]
        if value not in allowed:
            raise DataError(
                f"{value} was to be written to register {name}, but the range is {allowed[0]} to "
                f"{allowed[-1]}"
            )
        self._link.call(Request(Op.WRITE_REGISTER, address, _U32.pack(value)))

    def registers(self) -> dict[str, int]:
        """Read every register."""
        return self._read_all(lambda register: True)

    def counters(self) -> dict[str, int]:
        """Read the device's free-running counters."""
        return self._read_all(lambda register: not register.writable)

    def read_memory(self, name: str) -> bytes:
        """Read a memory region by its name, such as ``weights_0`` or ``row_map``.

        Raises
        ------
        DataError
            If there is no such region.
        """
        number, region = self._region(name)
        return b"".join(
            self._link.stream(
                Request(
                    Op.READ_MEMORY,
                    memory_address(number, word),
                    _U32.pack(count),
                    answer_bytes=count * region.lanes,
                )
                for word, count in self._spans(region)
            )
        )

    def write_memory(self, name: str, data: bytes) -> None:
        """Write a whole memory region by its name; ``load`` no longer vouches for its model.

        Parameters
        ----------
        name : str
        data : bytes
            As :meth:`read_memory` gives it: words of a byte a lane.

        Raises
        ------
        DataError
            If there is no such region or it has another size.
        """
        number, region = self._region(name)
        if len(data) != region.bytes:
            raise DataError(
                f"{len(data)} bytes were to be written to {name}, but it holds {region.bytes}"
            )
        self._image = None
        self.write_register("model", 0)
        written = self._link.stream(
            Request(
                Op.WRITE_MEMORY,
                memory_address(number, word),
                data[word * region.lanes : (word + count) * region.lanes],
            )
            for word, count in self._spans(region)
        )
        for _ in written:
            pass

    def _spans(self, region: Region) -> list[tuple[int, int]]:
        """First word and number of words of each piece that a region is moved in."""
        # A quarter of the buffer: the line stays busy while the device stores a frame.
        most = max(1, self.config.buffer_bytes // 4 // region.lanes)
        return [(word, min(most, region.words - word)) for word in range(0, region.words, most)]

    def _region(self, name: str) -> tuple[int, Region]:
        regions = {region.name: number for number, region in enumerate(self.config.regions)}
        if name not in regions:
            raise DataError(f"there is no memory region {name}{suggest(name, regions)}")
        return regions[name], self.config.regions[regions[name]]

    def _register(self, name: str) -> tuple[int, Register]:
        table = {known: (address, entry) for known, address, entry in register_map(self.config)}
        if name not in table:
            raise DataError(f"there is no register {name}{suggest(name, table)}")
        return table[name]

    def _read_all(self, wanted: Any) -> dict[str, int]:
        table = [(name, at) for name, at, entry in register_map(self.config) if wanted(entry)]
        answers = self._link.stream(Request(Op.READ_REGISTER, address) for _, address in table)
        return {name: _number(answer) for (name, _), answer in zip(table, answers, strict=True)}

    def _crc(self, number: int, word: int, count: int) -> int:
        """CRC-32 of words of a region."""
        request = Request(Op.MEMORY_CRC, memory_address(number, word), _U32.pack(count))
        return _number(self._link.call(request))

    # Connecting

    @property
    def _link(self) -> Link:
        return self._connected()[0]

    def _connected(self) -> tuple[Link, Hello]:
        if self._connection is None:
            raise LinkError(
                f"{self._port} stands for no device yet; load a model, which says what to build, "
                "or give a configuration when opening it"
            )
        return self._connection

    def _connect(self, config: Config | None) -> None:
        """Open the port and greet the device."""
        transport: Transport
        if is_virtual(self._port):
            assert config is not None
            transport = open_virtual(self._port, config, self._baud)
        else:
            transport = SerialTransport(self._port, self._baud)
        timeout = self._timeout
        if timeout is None:
            buffer = config.buffer_bytes if config else DEFAULT_BUFFER_BYTES
            # Ten bits a byte, there and back.
            timeout = _PATIENCE + 20 * buffer / self._baud
        try:
            link = Link(transport, f"{self._port} at {self._baud} baud", timeout, self._retries)
            hello = link.hello()
            if config is not None:
                _demand(config, hello.config, f"{self._port} is not the device that was expected")
        except BaseException:
            transport.close()
            raise
        self._connection = link, hello

    def _persistently(self, action: Callable[[], _T]) -> _T:
        """Do something that may be done twice; once more if the device goes away and comes back."""
        try:
            return action()
        except DeviceLost as lost:
            self._find_again(lost)
            return action()

    def _find_again(self, lost: DeviceLost) -> None:
        """Connect to a lost device once more and see to its model, or raise."""
        if is_virtual(self._port) or not self._reconnect:
            raise lost
        self.close()
        deadline = time.monotonic() + self._reconnect
        while True:
            try:
                self._connect(self.config)
                break
            except (PortError, NoReply, DeviceLost) as error:
                if time.monotonic() > deadline:
                    raise DeviceLost(
                        f"{lost} (it did not come back within {self._reconnect:g} s: {error})"
                    ) from error
                time.sleep(_RECONNECT_INTERVAL)
        if self._image is not None and self.read_register("model") != self._image.crc:
            self._load(self._image, progress=False)


def _number(payload: bytes) -> int:
    """The u32 that an answer holds."""
    if len(payload) != _U32.size:
        raise LinkError(f"an answer has {len(payload)} bytes where a number of 4 was expected")
    return int(_U32.unpack(payload)[0])


def _demand(asked: Config, built: Config, consequence: str) -> None:
    """Raise ConfigurationMismatch unless the configurations are the same."""
    if asked.digest != built.digest:
        raise ConfigurationMismatch(
            f"{consequence}: {_first_difference(asked, built)}; load the network itself, which is "
            "compiled for the device, or rebuild the device"
        )


def _first_difference(asked: Config, built: Config) -> str:
    """Say where two configurations differ."""
    if len(asked.layers) != len(built.layers):
        return f"{len(asked.layers)} layers were asked for, but it is built for {len(built.layers)}"
    pairs = [
        (f"{name} of layer {index}", value, asdict(theirs)[name])
        for index, (ours, theirs) in enumerate(zip(asked.layers, built.layers, strict=True))
        for name, value in asdict(ours).items()
    ]
    pairs += [
        (name, getattr(asked, name), getattr(built, name)) for name in ("max_steps", "buffer_bytes")
    ]
    name, ours, theirs = next(pair for pair in pairs if pair[1] != pair[2])
    return f"{name} was to be {ours}, but is {theirs}"
