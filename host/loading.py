"""What a device should hold: it is loaded, verified, and loaded again where a reset took it."""

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from .connection import RECOVERIES, Connection
from .firmware.config import Config
from .firmware.errors import DeviceReset, LinkError, Mismatch
from .firmware.image import Image
from .firmware.registers import REGISTERS, register_map
from .memory import Memory

__all__ = ["Loaded"]

_T = TypeVar("_T")

#: Times that a model is loaded before the device counts as faulty.
_LOADS = 3

#: Registers that tell whether a device is in the state in which it was left.
_WITNESSES = ("model", "boots", "frames_accepted", "stalls")


class Loaded:
    """The model on a device, as far as it is known here, and what it takes to have it there.

    Parameters
    ----------
    connection : Connection
    memory : Memory

    Attributes
    ----------
    image : Image or None
        What was loaded from here.
    mark : int or None
        What the register ``model`` holds if nobody else has been there.
    has_learned : bool
        Whether the weights there are no longer those of the image.
    settings : dict
        What of learning was written since it was loaded, by register.
    """

    def __init__(self, connection: Connection, memory: Memory) -> None:
        self.image: Image | None = None
        self.mark: int | None = None
        self.has_learned = False
        self.settings: dict[str, int] = {}
        self._connection = connection
        self._memory = memory
        self._statistics = connection.statistics
        # What the register `model` holds as well if the device was lost while that was changed.
        self._next_mark: int | None = None
        # Registers as they were when it had been loaded, with counters as they were when it was
        # last found in order.
        self._reference: dict[str, int] = {}
        # Whether it was found reset and does not yet hold again all that it should.
        self._incomplete = False
        connection.see_to_model = self._see_to_it

    @property
    def _port(self) -> str:
        return self._connection.port

    @property
    def _config(self) -> Config:
        return self._connection.config

    def forget(self) -> None:
        """Vouch for nothing any more."""
        self.image = self.mark = self._next_mark = None
        self.has_learned = self._incomplete = False
        self._reference = {}

    def load(self, image: Image, *, progress: bool) -> None:
        """Load an image; see :meth:`firstspike.device.Device.load`."""
        self.forget()
        self.settings = {}
        self._connection.persistently(lambda: self._load(image, progress))

    def _load(self, image: Image, progress: bool) -> None:
        self.has_learned = False
        for attempt in range(1, _LOADS + 1):
            before, failure = self._witnesses(), None
            try:
                self._load_once(image, progress)
            except Mismatch as error:
                failure = error
            # What was written may be lost to a reset; a memory that is faulty stays so.
            if _restarted(before, self._witnesses() if failure else self._reference):
                self._statistics.resets += 1
                if failure:
                    failure = Mismatch(
                        f"{self._port} was reset while it was loaded; check its supply"
                    )
            if not failure:
                break
            self._memory.write_register("model", 0)
            if attempt == _LOADS:
                raise LinkError(str(failure)) from failure
            self._statistics.reloads += 1
        self.image, self.mark = image, image.crc

    def _load_once(self, image: Image, progress: bool) -> None:
        """Load an image, or raise Mismatch if the device does not hold it afterwards."""
        from tqdm import tqdm

        memory = self._memory
        memory.write_register("model", 0)
        regions = {region.name: image.regions[region.name] for region in self._config.regions}
        with tqdm(
            total=sum(map(len, regions.values())),
            desc="load",
            unit="B",
            unit_scale=True,
            disable=None if progress else True,
        ) as bar:
            for name, data in regions.items():
                memory.write_differing(name, data, bar.update)
        for name, value in image.registers.items():
            memory.write_register(name, value)
        for name in memory.differing(regions):
            raise Mismatch(
                f"{self._port} holds other bytes in {name} than were written; its "
                "memory is faulty or was built too fast, so rebuild it for a lower clock"
            )
        memory.write_register("model", image.crc)
        # Last, since a reset since then has changed them all.
        self._reference = held = memory.registers()
        for name, value in {**image.registers, "model": image.crc}.items():
            if held[name] != value:
                raise Mismatch(
                    f"{self._port} holds {held[name]} in register {name}, but {value} was written; "
                    "rebuild the bitstream with this release"
                )

    def verify(self) -> int:
        """Return the number of the model that the device holds, ours if there is one.

        Raises
        ------
        DeviceReset
            If it was reset, and there is nothing to load again.
        LinkError
            If it holds none, or was loaded by others.
        """
        held = self._witnesses()
        if self.mark is None:
            if not held["model"]:
                raise LinkError(f"no model is loaded on {self._port}; load one first")
            return held["model"]
        if self._incomplete or held["model"] != self.mark or _restarted(self._reference, held):
            self.restore(self.mark)
        else:
            self._reference |= held
        return self.mark

    def restore(self, model: int) -> None:
        """See to it that a device that did not hold a model does so again.

        It holds it by itself if it has been loaded from flash since. Raises what :meth:`verify`
        does.
        """
        held = self._memory.registers()
        right = held["model"] in (model, self._next_mark)
        if self._find_reset(held) and right:
            # It has been loaded from flash since, but for what was written for learning.
            self._write_settings()
            self._incomplete = False
        if not self._incomplete:
            if not right:
                raise LinkError(
                    f"{self._port} no longer holds the model that was loaded; it was loaded by "
                    "another program, so load the model again and use the device from one program "
                    "at a time"
                )
            self._reference |= {name: held[name] for name in _WITNESSES}
            return
        if self.image is None:
            raise DeviceReset(f"{self._port} was reset and so lost its model; load it again")
        if self.has_learned:
            raise DeviceReset(
                f"{self._port} was reset and so lost what it had learned; load the network of the "
                "last checkpoint and go on from there"
            )
        self.reload()

    def reload(self) -> None:
        """Load what was loaded from here once more, and what was written for learning since."""
        assert self.image is not None
        # Until this is done, whatever ends it.
        self._incomplete = True
        self._load(self.image, progress=False)
        self._write_settings()
        self._incomplete = False
        self._statistics.reloads += 1

    def consistently(self, read: Callable[[], _T]) -> _T:
        """Read something of the model that the device holds, and of no other.

        Raises
        ------
        LinkError
            See :meth:`verify`; or if it is another one each time.
        """

        def attempt() -> tuple[_T, bool]:
            before = self.verify(), self._statistics.resets
            state = read()
            after = self.verify(), self._statistics.resets
            return state, before == after

        for _ in range(RECOVERIES):
            state, consistent = self._connection.persistently(attempt)
            if consistent:
                return state
        raise LinkError(
            f"{self._port} is reset or loaded again and again; check its supply, and use it from "
            "one program at a time"
        )

    def check(self) -> None:
        """Compare all that the device holds; see :meth:`firstspike.device.Device.check`."""
        if self.image is None or self.mark is None:
            raise LinkError(
                f"nothing was loaded on {self._port} from here, so there is nothing to compare it "
                "with; load a model first"
            )
        image = self.image
        fixed = {
            region.name: image.regions[region.name]
            for region in self._config.regions
            if not (self.has_learned and region.learns)
        }
        held, differing = self.consistently(
            lambda: (self._memory.registers(), list(self._memory.differing(fixed)))
        )
        for name, _, register in register_map(self._config):
            if register.of_model and held[name] != image.registers[name]:
                raise Mismatch(
                    f"{self._port} holds {held[name]} in register {name}, but "
                    f"{image.registers[name]} is right; load the model again"
                )
        for name in differing:
            raise Mismatch(
                f"{self._port} holds other bytes in {name} than were loaded; load the model again, "
                "and if this recurs, check the supply or rebuild for a lower clock"
            )

    def mark_as_learning(self) -> int:
        """Make the register ``model`` tell that the weights change, and return what it holds.

        Raises what :meth:`verify` does.
        """
        held = self.verify()
        if self.has_learned:
            return held
        # The device may be lost after it has taken the number, and before that was heard.
        self._next_mark = mark = zlib.crc32(struct.pack("<I", held)) or 1
        self._memory.write_register("model", mark)
        registers = self._memory.registers()
        if self._find_reset(registers):
            self._memory.write_register("model", 0)
            raise DeviceReset(f"{self._port} was reset and so lost its model; load it again")
        self._reference = self._reference or registers
        self.mark, self.has_learned = mark, True
        return mark

    def _see_to_it(self) -> None:
        """Have the model there again after the device was lost."""
        if self.mark is not None:
            self.restore(self.mark)

    def _write_settings(self) -> None:
        for name, value in self.settings.items():
            self._memory.write_register(name, value)

    def _witnesses(self) -> dict[str, int]:
        """The registers that tell whether the device is in the state in which it was left."""
        return self._memory.registers(lambda register: register.name in _WITNESSES)

    def _find_reset(self, held: Mapping[str, int]) -> bool:
        """Whether registers tell of a reset that was not known of; count it, and keep in mind that
        the device has to be restored."""
        if self._incomplete or not self._was_reset(held):
            return False
        self._statistics.resets += 1
        self._incomplete = True
        return True

    def _was_reset(self, held: Mapping[str, int]) -> bool:
        """Whether registers tell that the device has lost its state since it was loaded."""
        loaded = self._reference
        of_model = [
            (name, register.reset)
            for name, _, register in register_map(self._config)
            if register.of_model
        ]
        if not loaded:
            return all(held[name] == reset for name, reset in of_model)
        return (
            _restarted(loaded, held)
            or any(held[name] == reset != loaded[name] for name, reset in of_model)
            or (not held["model"] and held["stalls"] != loaded["stalls"])
        )


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
