"""Devices: load a model, classify samples, learn from them, look inside.

A board, its cycle-accurate simulation and the golden model behind the same link are used alike.
"""

import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from .compile import compile
from .exchange import Request, Statistics
from .firmware.config import DEFAULT_BUFFER_BYTES, Config, Region
from .firmware.errors import (
    ConfigurationMismatch,
    DataError,
    DeviceLost,
    DeviceReset,
    LinkError,
    Mismatch,
    NoisyLine,
    NoReply,
    PortError,
    Refused,
)
from .firmware.formats import NEVER
from .firmware.image import Image
from .firmware.layout import unpack_row_map
from .firmware.learning import Progress, Rule
from .firmware.network import Network
from .firmware.protocol import (
    Hello,
    Op,
    Outcome,
    Status,
    encode_sample,
    learning_argument,
    memory_address,
)
from .firmware.registers import REGISTERS, Register, register_map, register_values
from .firmware.suggest import suggest
from .firmware.transport import Transport
from .link import Link
from .transport import (
    DEFAULT_BAUD,
    VIRTUAL_BAUD,
    Line,
    SerialTransport,
    is_virtual,
    open_virtual,
    virtual_config,
)

__all__ = ["Device", "Learned", "Result", "open"]

_T = TypeVar("_T")

_U32 = struct.Struct("<I")

#: Seconds of silence before a frame is sent again, on top of what a full buffer takes on the line.
_PATIENCE = 1.0

#: Times that a model is loaded before the device counts as faulty.
_LOADS = 3

#: Times that a device may be lost or reset without having answered a sample in between.
_RECOVERIES = 8

#: Seconds between two attempts to find a lost device again.
_RECONNECT_INTERVAL = 0.1

#: Registers that tell whether a device is in the state in which it was left.
_WITNESSES = ("model", "boots", "frames_accepted", "stalls")

#: See ``Device._pieces``.
_FEWEST_PIECES, _MOST_PIECES = 4, 64

_LEARNS = {Op.INFER_BITMAP: Op.LEARN_BITMAP, Op.INFER_SPIKES: Op.LEARN_SPIKES}


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
        Clock cycles from the first event of the sample to the decision; ``model:`` tells those of
        the cycle model.
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


@dataclass(frozen=True, eq=False)
class Learned(Result):
    """What a device says about a batch of samples that it learned from.

    The decisions are those before the update, with the neurons that were left out. ``model:`` has
    no cycles of learning, so they are 0. Where the answer was lost on the line, label and step are
    −1 and everything else is 0.

    Parameters
    ----------
    repeated : (batch,) bool
        Whether the answer was lost; the sample was learned, once, like the others.
    """

    repeated: np.ndarray

    @classmethod
    def blank(cls, batch: int, layers: int) -> Self:
        """Return a result of ``batch`` samples to fill."""
        blank = Result.blank(batch, layers)
        return cls(**vars(blank), repeated=np.zeros(batch, dtype=bool))


def open(
    port: str,
    *,
    baud: int | None = None,
    config: Config | None = None,
    timeout: float | None = None,
    retries: int = 8,
    reconnect: float = 5.0,
    line: Line | None = None,
) -> "Device":
    """Open a device; see :class:`Device` for the parameters and errors."""
    return Device(
        port,
        baud=baud,
        config=config,
        timeout=timeout,
        retries=retries,
        reconnect=reconnect,
        line=line,
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
    line : callable, optional
        What lies between host and port, such as a :class:`~firstspike.sim.faults.FaultyLine`: it
        is called with a function that opens the port, and returns the transport to use.

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
        line: Line | None = None,
    ) -> None:
        self._port = port
        self._line = line
        default = VIRTUAL_BAUD if is_virtual(port) else DEFAULT_BAUD
        self._baud = default if baud is None else baud
        self._timeout = timeout
        self._retries = retries
        self._reconnect = reconnect
        self._statistics = Statistics()
        self._image: Image | None = None
        # Registers as they were when it had been loaded, with counters as they were when it was
        # last found in order; and what of learning was written since.
        self._loaded: dict[str, int] = {}
        self._settings: dict[str, int] = {}
        # Into so many pieces of its size, what the device's buffer holds is divided for moving
        # memory: with four, the line stays busy while the device stores one.
        self._pieces = _FEWEST_PIECES
        # Whether it has been found reset and does not yet hold all of that again.
        self._reloading = False
        # What the register `model` holds if nobody else has been here.
        self._mark: int | None = None
        # What it holds as well if the device was lost while that was being changed.
        self._next_mark: int | None = None
        # Whether the weights there are no longer those of the image.
        self._has_learned = False
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
        """The image that was loaded from here, if any; its weights may have changed by learning."""
        return self._image

    @property
    def link(self) -> Link:
        """The link, for requests that have no method here; raises what :attr:`info` does."""
        return self._link

    @property
    def statistics(self) -> Statistics:
        """Counts of the link, and of what went wrong, since the device was opened."""
        return self._statistics

    # Models

    def load(
        self,
        model: Image | Network,
        *,
        has_row: np.ndarray | None = None,
        progress: bool = False,
    ) -> Image:
        """Load a model, verify every byte of it and mark it as valid.

        Only what differs from the device's memory is sent. The register ``model`` is 0 from the
        start until all memories have been verified by their CRC; then it holds the image's CRC, and
        the other registers are verified by reading them back. A device that is reset meanwhile is
        loaded again.

        Parameters
        ----------
        model : Image or Network
            A network is compiled for the device first.
        has_row : (inputs,) bool, optional
            See :func:`~firstspike.compile.compile`; only with a network.
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
        if not isinstance(model, Image):
            model = compile(model, self.config, has_row=has_row)
        image = model
        _demand(image.config, self.config, f"{self._port} cannot take this image")
        self._image = self._mark = self._next_mark = None
        self._loaded, self._settings = {}, {}
        self._reloading = False
        self._persistently(lambda: self._load(image, progress))
        return image

    def _load(self, image: Image, progress: bool) -> None:
        self._has_learned = False
        for attempt in range(1, _LOADS + 1):
            before, failure = self._witnesses(), None
            try:
                self._load_once(image, progress)
            except Mismatch as error:
                failure = error
            # What was written may be lost to a reset; a memory that is faulty stays so.
            if _restarted(before, self._witnesses() if failure else self._loaded):
                self._statistics.resets += 1
                if failure:
                    failure = Mismatch(
                        f"{self._port} was reset while it was loaded; check its supply"
                    )
            if not failure:
                break
            self.write_register("model", 0)
            if attempt == _LOADS:
                raise LinkError(str(failure)) from failure
            self._statistics.reloads += 1
        self._image, self._mark = image, image.crc

    def _witnesses(self) -> dict[str, int]:
        """Registers that tell whether the device is in the state in which it was left."""
        return self._read_all(lambda register: register.name in _WITNESSES)

    def _load_once(self, image: Image, progress: bool) -> None:
        """Load an image, or raise Mismatch if the device does not hold it afterwards."""
        from tqdm import tqdm

        self.write_register("model", 0)
        total = sum(region.bytes for region in self.config.regions)
        with tqdm(
            total=total, desc="load", unit="B", unit_scale=True, disable=None if progress else True
        ) as bar:
            for number, region in enumerate(self.config.regions):
                data = image.regions[region.name]
                self._in_pieces(partial(self._fill, number, region, data, bar))
        for name, value in image.registers.items():
            self.write_register(name, value)
        for name in self._differing(image.regions):
            raise Mismatch(
                f"{self._port} holds other bytes in {name} than were written; its "
                "memory is faulty or was built too fast, so rebuild it for a lower clock"
            )
        self.write_register("model", image.crc)
        # Last, since a reset since then has changed them all.
        wanted = {**image.registers, "model": image.crc}
        self._loaded = held = self.registers()
        for name, value in wanted.items():
            if held[name] != value:
                raise Mismatch(
                    f"{self._port} holds {held[name]} in register {name}, but {value} was written; "
                    "rebuild the bitstream with this release"
                )

    def _differing(self, regions: Mapping[str, bytes]) -> Iterator[str]:
        """Regions by name whose CRC on the device is not that of these bytes."""
        for number, region in enumerate(self.config.regions):
            wanted = regions.get(region.name)
            if wanted is not None and self._crc(number, 0, region.words) != zlib.crc32(wanted):
                yield region.name

    def _fill(self, number: int, region: Region, data: bytes, bar: Any) -> None:
        """Write the parts of a region that differ from ``data``."""
        done = bar.n
        try:
            self._write_differing(number, region, data, bar)
        except NoReply:
            bar.n = done
            raise

    def _write_differing(self, number: int, region: Region, data: bytes, bar: Any) -> None:
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

        Requests are streamed, as many at once as the device holds. Each names the model that it is
        for, so no answer comes from other weights. A device that goes away is waited for; one that
        was reset is loaded again, if it was loaded from here. The batch continues where it was.

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
            If no model is loaded, or the device was loaded by others in between; one of its
            subclasses if the device is lost for good, or fails.
        """
        model = self._persistently(self._verify_model)
        samples = self._persistently(lambda: self._check(samples))
        result = Result.blank(len(samples), len(self.config.layers))

        def requests(start: int) -> Iterator[Request]:
            for op, payload in map(encode_sample, samples[start:]):
                yield Request(op, model, payload)

        self._stream("infer", requests, result, progress, model)
        return result

    def _stream(
        self,
        what: str,
        requests: Callable[[int], Iterator[Request]],
        result: Result,
        progress: bool,
        model: int,
    ) -> None:
        """Make ``requests`` from the first sample on, or from where the device was lost or reset,
        and fill ``result`` with the outcomes."""
        from tqdm import tqdm

        total, layers = result.rows.shape
        done = attempts = 0
        resumed = -1
        with tqdm(total=total, desc=what, unit="img", disable=None if progress else True) as bar:
            while done < total:
                try:
                    for payload in self._link.stream(requests(done)):
                        if payload or not isinstance(result, Learned):
                            self._put(result, done, payload, layers)
                        else:
                            result.repeated[done] = True
                            result.label[done] = result.step[done] = -1
                        done += 1
                        bar.update()
                except (DeviceLost, Refused) as error:
                    attempts = attempts + 1 if done == resumed else 0
                    if attempts == _RECOVERIES:
                        raise
                    if isinstance(error, DeviceLost):
                        self._find_again(error)
                    else:
                        self._recover(error, model, learning=isinstance(result, Learned))
                    resumed = done

    def _recover(self, refused: Refused, model: int, *, learning: bool) -> None:
        """See to it that what a device refused in mid-batch can be asked again, or raise."""
        if refused.status == Status.NO_MODEL:
            self._persistently(lambda: self._restore(model))
        elif refused.status != Status.STALLED:
            raise refused
        elif learning:
            raise DeviceReset(
                f"the core of {self._port} failed in mid-update, so what it had learned is lost; "
                "load the network of the last checkpoint and go on from there"
            ) from refused

    def _put(self, result: Result, index: int, payload: bytes, layers: int) -> None:
        """Write row ``index`` of a result."""
        try:
            outcome = Outcome.decode(payload, layers)
        except DataError as error:
            raise LinkError(f"{self._port}: {error}") from error
        result.label[index] = outcome.label
        result.step[index] = outcome.step
        result.fired[index] = outcome.fired
        result.cycles[index] = outcome.cycles
        result.rows[index] = outcome.rows

    def _demand_same_model(self, model: int) -> None:
        """Raise unless the device holds the model that it held before."""
        if self._persistently(self._verify_model) != model:
            raise LinkError(
                f"{self._port} was loaded with another model in the middle of the batch, so its "
                "answers cannot be trusted; use it from one program at a time"
            )

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
        steps = (
            self.read_register("steps") if self._image is None else self._image.registers["steps"]
        )
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
        """Return the CRC of the model that the device holds, ours if there is one, or raise."""
        held = self._witnesses()
        if self._mark is None:
            if not held["model"]:
                raise LinkError(f"no model is loaded on {self._port}; load one first")
            return held["model"]
        if self._reloading or held["model"] != self._mark or _restarted(self._loaded, held):
            self._restore(self._mark)
        else:
            self._loaded |= held
        return self._mark

    def _restore(self, model: int) -> None:
        """See to it that a device that did not hold a model does so again, or raise.

        It holds it by itself if it has been loaded from flash since.
        """
        held = self.registers()
        right = held["model"] in (model, self._next_mark)
        if self._find_reset(held) and right:
            # It has been loaded from flash since, but for what was written for learning.
            for name, value in self._settings.items():
                self._write(name, value)
            self._reloading = False
        if not self._reloading:
            if not right:
                raise LinkError(
                    f"{self._port} no longer holds the model that was loaded; it was loaded by "
                    "another program, so load the model again and use the device from one program "
                    "at a time"
                )
            self._loaded = held
            return
        if self._image is None:
            raise DeviceReset(f"{self._port} was reset and so lost its model; load it again")
        if self._has_learned:
            raise DeviceReset(
                f"{self._port} was reset and so lost what it had learned; load the network of the "
                "last checkpoint and go on from there"
            )
        self._reload()

    def _reload(self) -> None:
        """Load what was loaded from here once more, and what was written for learning since."""
        assert self._image is not None
        image, settings = self._image, dict(self._settings)
        self._reloading = True
        try:
            self._load(image, progress=False)
            for name, value in settings.items():
                self.write_register(name, value)
        finally:
            # If the device is lost meanwhile, all this is done once more.
            self._image, self._mark, self._settings = image, image.crc, settings
        self._reloading = False
        self._statistics.reloads += 1

    def _find_reset(self, held: Mapping[str, int]) -> bool:
        """Whether registers tell of a reset that was not known of; count it, and keep in mind that
        the device has to be restored."""
        if self._reloading or not self._was_reset(held):
            return False
        self._statistics.resets += 1
        self._reloading = True
        return True

    def _was_reset(self, held: Mapping[str, int]) -> bool:
        """Whether registers tell that the device has lost its state since it was loaded."""
        loaded = self._loaded
        of_model = [
            (name, register.reset)
            for name, _, register in register_map(self.config)
            if register.of_model
        ]
        if not loaded:
            return all(held[name] == reset for name, reset in of_model)
        return (
            _restarted(loaded, held)
            or any(held[name] == reset != loaded[name] for name, reset in of_model)
            or (not held["model"] and held["stalls"] != loaded["stalls"])
        )

    def check(self) -> None:
        """Verify that the device still holds what was loaded: every memory and every register.

        Of a device that has learned since, what learning does not change. A device that was reset
        is loaded again first. Takes no samples' time: to be called between batches, as often as the
        device's surroundings call for.

        Raises
        ------
        DeviceReset
            If the device was reset and had learned.
        LinkError
            If nothing was loaded from here, or the device was loaded by others in between.
        Mismatch
            If a memory or register holds something else; the message says which.
        """
        if self._image is None or self._mark is None:
            raise LinkError(
                f"nothing was loaded on {self._port} from here, so there is nothing to compare it "
                "with; load a model first"
            )
        image = self._image
        fixed = {
            region.name: image.regions[region.name]
            for region in self.config.regions
            if not (self._has_learned and region.learns)
        }
        wanted = {
            name: image.registers[name]
            for name, _, register in register_map(self.config)
            if register.of_model
        }
        held, differing = self._consistently(
            lambda: (self.registers(), list(self._differing(fixed)))
        )
        for name, value in wanted.items():
            if held[name] != value:
                raise Mismatch(
                    f"{self._port} holds {held[name]} in register {name}, but {value} is right; "
                    "load the model again"
                )
        for name in differing:
            raise Mismatch(
                f"{self._port} holds other bytes in {name} than were loaded; load the model again, "
                "and if this recurs, check the supply or rebuild for a lower clock"
            )

    # Learning

    def start_learning(self, rule: Rule, progress: Progress | None = None) -> None:
        """Write the settings of the learning rule and, if given, where learning stands.

        Parameters
        ----------
        rule : Rule
        progress : Progress, optional
            Default: the device goes on from where it is.

        Raises
        ------
        DataError
            If the device does not learn, or they are of another number of layers or out of the
            range that it is built for.
        """
        self._demand_learning()
        layers = len(self.config.layers)
        rule.check(layers)
        values = rule.registers()
        if progress is not None:
            if len(progress.dropout) != layers - 1:
                raise DataError(
                    f"the progress is of {len(progress.dropout)} hidden layers, but the device has "
                    f"{layers - 1}"
                )
            values |= progress.registers()

        def write() -> None:
            for name, value in values.items():
                self.write_register(name, value)

        self._persistently(write)

    @property
    def rule(self) -> Rule:
        """The settings of the learning rule, read from the device.

        Raises
        ------
        DataError
            If the device does not learn.
        """
        self._demand_learning()
        return Rule.from_registers(self._consistently(self.registers), self.config)

    @property
    def progress(self) -> Progress:
        """Where learning stands, read from the device; raises what :attr:`rule` does."""
        self._demand_learning()
        return Progress.from_registers(self._consistently(self.registers), self.config)

    def learn(
        self,
        samples: np.ndarray,
        labels: np.ndarray,
        rule: Rule | None = None,
        progress: Progress | None = None,
        *,
        show: bool = False,
    ) -> Learned:
        """Learn from samples, one after the other, each exactly once whatever the line does.

        Requests are streamed like those of :meth:`infer`. They are numbered from the device's
        register ``learned`` on, and it learns them in this order alone. From the first call on, the
        register ``model`` tells that the weights are no longer those that were loaded. If the
        batch is interrupted, :attr:`progress` tells how many samples were learned.

        Parameters
        ----------
        samples : (batch, inputs) integers
            See :meth:`infer`.
        labels : (batch,) integers
        rule : Rule, optional
        progress : Progress, optional
            See :meth:`start_learning`. Default: as the device has them.
        show : bool
            Show a progress bar on standard error if that is a terminal.

        Raises
        ------
        DataError
            If samples, labels, rule or progress do not suit the device, or it does not learn.
        DeviceReset
            If the device was reset and had learned before: what it had learned is lost. If it had
            not, it is loaded again and learns the batch from its start.
        LinkError
            If no model is loaded, or the device was used by others in between; one of its
            subclasses if it is lost for good.
        """
        self._demand_learning()
        self._persistently(self._verify_model)
        samples = self._persistently(lambda: self._check(samples))
        labels = self._check_labels(labels, len(samples))
        if rule is not None:
            self.start_learning(rule, progress)
        elif progress is not None:
            self.start_learning(self.rule, progress)
        # What was loaded from here can be loaded again, as long as nothing was learned since.
        attempts = _RECOVERIES if self._has_learned or self._image is None else 0
        while True:
            try:
                return self._learn(samples, labels, show)
            except DeviceReset:
                if attempts == _RECOVERIES:
                    raise
                attempts += 1
                self._has_learned = False
                self._persistently(self._reload)

    def _learn(self, samples: np.ndarray, labels: np.ndarray, show: bool) -> Learned:
        model = self._persistently(self._mark_as_learning)
        first = self._persistently(lambda: self.read_register("learned"))
        result = Learned.blank(len(samples), len(self.config.layers))

        def requests(start: int) -> Iterator[Request]:
            for index in range(start, len(samples)):
                op, payload = encode_sample(samples[index])
                arg = learning_argument(int(labels[index]), first + index)
                yield Request(_LEARNS[op], arg, payload, in_turn=True)

        self._stream("learn", requests, result, show, model)
        self._demand_same_model(model)
        return result

    def has_row(self) -> np.ndarray:
        """(inputs,) bool, read from the device: which inputs have a weight row."""
        rows = self._consistently(lambda: self.read_memory("row_map"))
        return unpack_row_map(rows, self.config) >= 0

    def network(self) -> Network:
        """Read the whole network back, with the weights as they are now.

        It is as large as the build, but for the outputs that do not take part in the decision, and
        has the weight bits of the build. If the model was loaded from here, it keeps its ``meta``.

        Raises
        ------
        LinkError
            If no model is loaded, or the device was reset or loaded by others in between.
        """
        values, regions = self._consistently(
            lambda: (
                self.registers(),
                {region.name: self.read_memory(region.name) for region in self.config.regions},
            )
        )
        registers = {
            name: values[name]
            for name, _, entry in register_map(self.config)
            if entry.writable and name != "model"
        }
        meta = {} if self._image is None else self._image.meta
        return Image(self.config, registers, regions, meta).network()

    def _consistently(self, read: Callable[[], _T]) -> _T:
        """Read the state of the model that the device holds, and no other; or raise."""

        def attempt() -> tuple[_T, bool]:
            before = self._verify_model(), self._statistics.resets
            state = read()
            after = self._verify_model(), self._statistics.resets
            return state, before == after

        for _ in range(_RECOVERIES):
            state, consistent = self._persistently(attempt)
            if consistent:
                return state
        raise LinkError(
            f"{self._port} is reset or loaded again and again; check its supply, and use it from "
            "one program at a time"
        )

    def _demand_learning(self) -> None:
        if not self.config.learning:
            raise DataError(
                f"{self._port} is built without learning; build it with --learning, or with a "
                "configuration for which learning is on"
            )

    def _check_labels(self, labels: np.ndarray, batch: int) -> np.ndarray:
        """Return labels as (batch,) integers or raise DataError."""
        labels = np.atleast_1d(np.asarray(labels))
        if labels.shape != (batch,) or labels.dtype.kind not in "iu":
            raise DataError(
                f"labels are {labels.dtype} of shape {labels.shape}, but {batch} samples need "
                f"integers of shape ({batch},)"
            )
        classes = self._persistently(lambda: self.read_register("classes"))
        if batch and not (labels.min() >= 0 and labels.max() < classes):
            wrong = int(np.argmax((labels < 0) | (labels >= classes)))
            raise DataError(
                f"the label of sample {wrong} is {labels[wrong]}, but the model on {self._port} "
                f"has outputs 0 to {classes - 1}"
            )
        return labels

    def _mark_as_learning(self) -> int:
        """Make the register ``model`` tell that the weights change, and return what it holds."""
        held = self._verify_model()
        if self._has_learned:
            return held
        # The device may be lost after it has taken the number, and before that was heard.
        self._next_mark = mark = zlib.crc32(_U32.pack(held)) or 1
        self.write_register("model", mark)
        held_now = self.registers()
        if self._find_reset(held_now):
            self.write_register("model", 0)
            raise DeviceReset(f"{self._port} was reset and so lost its model; load it again")
        self._loaded = self._loaded or held_now
        self._mark, self._has_learned = mark, True
        return mark

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
        _, register = self._register(name)
        if not register.writable:
            raise DataError(f"register {name} cannot be written")
        allowed = register_values(self.config)[name]
        if value not in allowed:
            raise DataError(
                f"{value} was to be written to register {name}, but the range is {allowed[0]} to "
                f"{allowed[-1]}"
            )
        if register.of_model:
            self._image = self._mark = None
        if register.learning:
            self._settings[name] = value
        self._write(name, value)

    def _write(self, name: str, value: int) -> None:
        """Write a register as it is."""
        address, _ = self._register(name)
        self._link.call(Request(Op.WRITE_REGISTER, address, _U32.pack(value)))

    def registers(self) -> dict[str, int]:
        """Read every register."""
        return self._read_all(lambda register: True)

    def counters(self) -> dict[str, int]:
        """Read the device's free-running counters."""
        return self._persistently(
            lambda: self._read_all(lambda register: not register.writable),
        )

    def read_memory(self, name: str) -> bytes:
        """Read a memory region by its name, such as ``weights_0`` or ``row_map``.

        Raises
        ------
        DataError
            If there is no such region.
        """
        number, region = self._region(name)
        return self._in_pieces(
            lambda: b"".join(
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
        self._image = self._mark = None
        self.write_register("model", 0)

        def write() -> None:
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

        self._in_pieces(write)

    def _spans(self, region: Region) -> list[tuple[int, int]]:
        """First word and number of words of each piece that a region is moved in."""
        most = max(1, self.config.buffer_bytes // self._pieces // region.lanes)
        return [(word, min(most, region.words - word)) for word in range(0, region.words, most)]

    def _in_pieces(self, move: Callable[[], _T]) -> _T:
        """Move a memory region, in smaller and smaller pieces if the line loses the larger ones."""
        while True:
            try:
                return move()
            except NoReply as error:
                if self._pieces >= _MOST_PIECES:
                    raise
                if not isinstance(error, NoisyLine):
                    self._link.hello()  # or it is not there at all
                self._pieces *= 2

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

        def connect() -> Transport:
            if is_virtual(self._port):
                assert config is not None
                return open_virtual(self._port, config, self._baud)
            return SerialTransport(self._port, self._baud)

        transport = connect() if self._line is None else self._line(connect)
        timeout = self._timeout
        if timeout is None:
            buffer = config.buffer_bytes if config else DEFAULT_BUFFER_BYTES
            # Ten bits a byte, there and back.
            timeout = _PATIENCE + 20 * buffer / self._baud
        try:
            link = Link(
                transport,
                f"{self._port} at {self._baud} baud",
                timeout,
                self._retries,
                self._statistics,
                first=self._first_sequence(),
            )
            hello = link.hello()
            if config is not None:
                _demand(config, hello.config, f"{self._port} is not the device that was expected")
        except BaseException:
            transport.close()
            raise
        self._connection = link, hello

    def _first_sequence(self) -> int:
        """Where sequence numbers begin, so that no answer to an earlier host passes for ours."""
        if self._connection is not None:
            return self._link.next_sequence
        # Nobody else has used a virtual board, and what it says can be told in advance.
        return 0 if is_virtual(self._port) else random.randrange(256)

    def _persistently(self, action: Callable[[], _T]) -> _T:
        """Do something that may be done twice; again if the device goes away and comes back."""
        attempts = 0
        while True:
            try:
                return action()
            except DeviceLost as lost:
                attempts += 1
                if attempts > _RECOVERIES:
                    raise
                self._find_again(lost)

    def _find_again(self, lost: DeviceLost) -> None:
        """Connect to a lost device once more and see to its model, or raise."""
        # A virtual board never goes away by itself, but its cable may be pulled.
        if not self._reconnect or (is_virtual(self._port) and self._line is None):
            raise lost
        self.close()
        deadline = time.monotonic() + self._reconnect
        while True:
            try:
                self._connect(self.config)
                self._statistics.reconnections += 1
                if self._mark is not None:
                    self._restore(self._mark)
                return
            except (PortError, NoReply, DeviceLost) as error:
                if time.monotonic() > deadline:
                    raise DeviceLost(
                        f"{lost} (it did not come back within {self._reconnect:g} s: {error})"
                    ) from error
                self.close()
                time.sleep(_RECONNECT_INTERVAL)


def _restarted(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    """Whether two readings of the counters, if there is a first, tell of a reset in between."""
    if not before:
        return False
    # A device that lost its power counts its resets from the start, but also its frames. Of these,
    # fewer than half of what their counter holds have come since the first reading.
    wraps = 1 << next(entry.bits for entry in REGISTERS if entry.name == "frames_accepted")
    frames = (after["frames_accepted"] - before["frames_accepted"]) % wraps
    lost_power = after["boots"] == 1 and frames >= wraps // 2
    return before["boots"] != after["boots"] or lost_power


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
