"""The project's exceptions: one small tree, each with the exit code that the command line returns.

Every message is one clear sentence that says what was asked, what the limit is and what to do.
"""

__all__ = [
    "BuildError",
    "CapacityError",
    "ConfigurationMismatch",
    "DataError",
    "DeviceLost",
    "DeviceReset",
    "FirstspikeError",
    "LinkError",
    "Mismatch",
    "ModelFileError",
    "NoReply",
    "NoisyLine",
    "PortError",
    "Refused",
]


class FirstspikeError(Exception):
    """Base of every error that the project raises on purpose."""

    exit_code = 1


class DataError(FirstspikeError, ValueError):
    """Samples, labels or parameters of the wrong shape, dtype or range."""

    exit_code = 3


class ModelFileError(FirstspikeError):
    """A network or image file that is missing, truncated, tampered with or of another kind."""

    exit_code = 4


class CapacityError(FirstspikeError):
    """A network that does not fit the configuration it is compiled for."""

    exit_code = 5


class BuildError(FirstspikeError):
    """A tool that is missing, or a simulator or bitstream build that failed."""

    exit_code = 6


class Mismatch(FirstspikeError):
    """Two models that must agree do not; the message names the first divergence."""

    exit_code = 7


class LinkError(FirstspikeError):
    """Base of everything that goes wrong between host and device."""

    exit_code = 8


class PortError(LinkError):
    """A port that cannot be opened."""


class NoReply(LinkError):
    """A device that does not answer, or answers with bytes that are no frames."""


class NoisyLine(NoReply):
    """A line that has lost one frame more often than it may be sent again."""


class DeviceLost(LinkError):
    """A device that went away while it was in use."""


class DeviceReset(LinkError):
    """A device that was reset, and so lost a model that cannot be loaded again from here: it was
    loaded by others, or what was loaded has learned since. Also one whose core failed while it
    learned."""


class Refused(LinkError):
    """A request that the device answered with another status than ``OK``.

    Attributes
    ----------
    status : int
        See :class:`~firstspike.firmware.protocol.Status`.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ConfigurationMismatch(LinkError):
    """A device built from another configuration or speaking another protocol version."""
