"""Devices: load a model, classify samples, learn from them, look inside.

A board, its cycle-accurate simulation and the golden model behind the same link are used alike.
"""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np

from .compile import compile
from .connection import RECOVERIES, Connection, demand_same
from .exchange import Request, Statistics
from .firmware.config import Config
from .firmware.errors import DataError, DeviceLost, DeviceReset, LinkError, Refused
from .firmware.formats import NEVER
from .firmware.image import Image
from .firmware.layout import unpack_row_map
from .firmware.learning import Progress, Rule
from .firmware.network import Network
from .firmware.protocol import Hello, Op, Status, encode_sample, learning_argument
from .link import Link
from .loading import Loaded
from .memory import Memory
from .result import Learned, Result
from .transport import Line, is_virtual, virtual_config

__all__ = ["Device", "Learned", "Result", "open"]

_LEARNS = {Op.INFER_BITMAP: Op.LEARN_BITMAP, Op.INFER_SPIKES: Op.LEARN_SPIKES}


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
        self._connection = Connection(
            port, baud=baud, timeout=timeout, retries=retries, reconnect=reconnect, line=line
        )
        self._memory = Memory(self._connection)
        self._loaded = Loaded(self._connection, self._memory)
        if config is not None or not is_virtual(port):
            self._connection.open(config)

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
        self._connection.close()

    # What the device is

    @property
    def port(self) -> str:
        """The port as it was given."""
        return self._connection.port

    @property
    def info(self) -> Hello:
        """The device's account of itself: configuration, clock, release, build, protocol version.

        Raises
        ------
        LinkError
            If this is ``model:`` or ``sim:`` and nothing says yet what to build.
        """
        return self._connection.hello

    @property
    def config(self) -> Config:
        """What the device is built for; raises what :attr:`info` does."""
        return self.info.config

    @property
    def image(self) -> Image | None:
        """The image that was loaded from here, if any; its weights may have changed by learning."""
        return self._loaded.image

    @property
    def link(self) -> Link:
        """The link, for requests that have no method here; raises what :attr:`info` does."""
        return self._connection.link

    @property
    def statistics(self) -> Statistics:
        """Counts of the link, and of what went wrong, since the device was opened."""
        return self._connection.statistics

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
        if not self._connection.is_open:
            self._connection.open(
                model.config if isinstance(model, Image) else virtual_config(self.port, model)
            )
        if not isinstance(model, Image):
            model = compile(model, self.config, has_row=has_row)
        demand_same(model.config, self.config, f"{self.port} cannot take this image")
        self._loaded.load(model, progress=progress)
        return model

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
        self._loaded.check()

    def read_image(self) -> Image:
        """Read back all that the device holds, with the weights as they are now.

        If the model was loaded from here, it keeps its ``meta``.

        Raises
        ------
        DeviceReset
            If the device was reset and had learned.
        LinkError
            If no model is loaded, or the device was loaded by others in between.
        """
        registers, regions = self._loaded.consistently(
            lambda: (
                self._memory.registers(lambda entry: entry.writable and entry.name != "model"),
                {region.name: self._memory.read(region.name) for region in self.config.regions},
            )
        )
        return Image(self.config, registers, regions, self.image.meta if self.image else {})

    def network(self) -> Network:
        """Read the whole network back; raises what :meth:`read_image` does.

        It is as large as the build, but for the outputs that do not take part in the decision, and
        has the weight bits of the build.
        """
        return self.read_image().network()

    def has_row(self) -> np.ndarray:
        """(inputs,) bool, read from the device: which inputs have a weight row."""
        rows = self._loaded.consistently(lambda: self._memory.read("row_map"))
        return unpack_row_map(rows, self.config) >= 0

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
        model = self._connection.persistently(self._loaded.verify)
        samples = self._check(samples)
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

        done = attempts = 0
        resumed = -1
        with tqdm(
            total=len(result), desc=what, unit="img", disable=None if progress else True
        ) as bar:
            while done < len(result):
                try:
                    for payload in self.link.stream(requests(done)):
                        self._fill(result, done, payload)
                        done += 1
                        bar.update()
                except (DeviceLost, Refused) as error:
                    attempts = attempts + 1 if done == resumed else 0
                    if attempts == RECOVERIES:
                        raise
                    if isinstance(error, DeviceLost):
                        self._connection.find_again(error)
                    else:
                        self._recover(error, model, learning=isinstance(result, Learned))
                    resumed = done

    def _fill(self, result: Result, index: int, payload: bytes) -> None:
        try:
            result.fill(index, payload)
        except DataError as error:
            raise LinkError(f"{self.port}: {error}") from error

    def _recover(self, refused: Refused, model: int, *, learning: bool) -> None:
        """See to it that what a device refused in mid-batch can be asked again, or raise."""
        if refused.status == Status.NO_MODEL:
            self._connection.persistently(lambda: self._loaded.restore(model))
        elif refused.status != Status.STALLED:
            raise refused
        elif learning:
            raise DeviceReset(
                f"the core of {self.port} failed in mid-update, so what it had learned is lost; "
                "load the network of the last checkpoint and go on from there"
            ) from refused

    def _demand_same_model(self, model: int) -> None:
        """Raise unless the device holds the model that it held before."""
        if self._connection.persistently(self._loaded.verify) != model:
            raise LinkError(
                f"{self.port} was loaded with another model in the middle of the batch, so its "
                "answers cannot be trusted; use it from one program at a time"
            )

    def _check(self, samples: np.ndarray) -> np.ndarray:
        """Return samples as (batch, inputs of the device) or raise DataError."""
        samples = np.atleast_2d(np.asarray(samples))
        built = self.config.inputs
        # Beyond the last input that has a row there is nothing to lose.
        used = 1
        if self.image is not None:
            rows = unpack_row_map(self.image.regions["row_map"], self.config)
            used = int(np.flatnonzero(rows >= 0).max(initial=0)) + 1
        if samples.ndim != 2 or not used <= samples.shape[1] <= built:
            raise DataError(
                f"samples have shape {samples.shape}, but the model on {self.port} needs "
                f"(batch, {built}); encode images to spike steps first"
            )
        if samples.dtype.kind not in "iu":
            raise DataError(f"samples have dtype {samples.dtype}, but spike steps are integers")
        steps = self._register_of_model("steps")
        if samples.size and not (samples.min() >= NEVER and samples.max() < steps):
            raise DataError(
                f"spike steps run from {samples.min()} to {samples.max()}, but the model on "
                f"{self.port} runs steps 0 to {steps - 1} (and -1 for an input that does not "
                "spike)"
            )
        self.config.check_samples(samples)
        missing = built - samples.shape[1]
        return np.pad(samples.astype(np.int32), ((0, 0), (0, missing)), constant_values=NEVER)

    def _register_of_model(self, name: str) -> int:
        """What a register of the model holds, though the device may be reset at any moment."""
        if self.image is not None:
            return self.image.registers[name]
        return self._loaded.consistently(lambda: self._memory.read_register(name))

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

        self._connection.persistently(write)

    @property
    def rule(self) -> Rule:
        """The settings of the learning rule, read from the device.

        Raises
        ------
        DataError
            If the device does not learn.
        """
        self._demand_learning()
        return Rule.from_registers(self._loaded.consistently(self._memory.registers), self.config)

    @property
    def progress(self) -> Progress:
        """Where learning stands, read from the device; raises what :attr:`rule` does."""
        self._demand_learning()
        return Progress.from_registers(
            self._loaded.consistently(self._memory.registers), self.config
        )

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
        self._connection.persistently(self._loaded.verify)
        samples = self._check(samples)
        labels = self._check_labels(labels, len(samples))
        if rule is not None:
            self.start_learning(rule, progress)
        elif progress is not None:
            self.start_learning(self.rule, progress)
        # What was loaded from here can be loaded again, as long as nothing was learned since.
        attempts = RECOVERIES if self._loaded.has_learned or self.image is None else 0
        while True:
            try:
                return self._learn(samples, labels, show)
            except DeviceReset:
                if attempts == RECOVERIES:
                    raise
                attempts += 1
                self._loaded.has_learned = False
                self._connection.persistently(self._loaded.reload)

    def _learn(self, samples: np.ndarray, labels: np.ndarray, show: bool) -> Learned:
        model = self._connection.persistently(self._loaded.mark_as_learning)
        first = self.read_register("learned")
        result = Learned.blank(len(samples), len(self.config.layers))

        def requests(start: int) -> Iterator[Request]:
            for index in range(start, len(samples)):
                op, payload = encode_sample(samples[index])
                arg = learning_argument(int(labels[index]), first + index)
                yield Request(_LEARNS[op], arg, payload, in_turn=True)

        self._stream("learn", requests, result, show, model)
        self._demand_same_model(model)
        return result

    def _demand_learning(self) -> None:
        if not self.config.learning:
            raise DataError(
                f"{self.port} is built without learning; build it with --learning, or with a "
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
        classes = self._register_of_model("classes")
        if batch and not (labels.min() >= 0 and labels.max() < classes):
            wrong = int(np.argmax((labels < 0) | (labels >= classes)))
            raise DataError(
                f"the label of sample {wrong} is {labels[wrong]}, but the model on {self.port} "
                f"has outputs 0 to {classes - 1}"
            )
        return labels

    # Looking inside. What only reads waits for a device that goes away; what writes does not, since
    # nothing of it may be left when the device is back.

    def read_register(self, name: str) -> int:
        """Read a register by its name, such as ``steps`` or ``threshold_1``.

        Raises
        ------
        DataError
            If there is no such register.
        """
        return self._connection.persistently(lambda: self._memory.read_register(name))

    def write_register(self, name: str, value: int) -> None:
        """Write a register; what it changes, ``load`` no longer vouches for.

        Raises
        ------
        DataError
            If there is no such register, it cannot be written or the value is out of its range.
        DeviceLost
            If the device goes away.
        """
        register = self._memory.writable(name, value)
        if register.of_model:
            self._loaded.forget()
        if register.learning:
            self._loaded.settings[name] = value
        self._memory.write_register(name, value)

    def registers(self) -> dict[str, int]:
        """Read every register."""
        return self._connection.persistently(self._memory.registers)

    def counters(self) -> dict[str, int]:
        """Read the device's free-running counters."""
        return self._connection.persistently(
            lambda: self._memory.registers(lambda register: not register.writable)
        )

    def read_memory(self, name: str) -> bytes:
        """Read a memory region by its name, such as ``weights_0`` or ``row_map``.

        Raises
        ------
        DataError
            If there is no such region.
        """
        return self._connection.persistently(lambda: self._memory.read(name))

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
        DeviceLost
            If the device goes away.
        """
        self._memory.demand_size(name, data)
        self._loaded.forget()
        self._memory.write_register("model", 0)
        self._memory.write(name, data)
