"""Flash images: what a device loads itself with when it comes up, see ``docs/flash.md``.

An image holds the very frames that a host would send, so a device needs no other way in.
"""

import struct
import zlib
from collections.abc import Iterator

from .config import Config, Region
from .errors import ModelFileError
from .framing import Frame, FrameDecoder, coded_bytes
from .image import Image
from .protocol import Op, memory_address, split_memory_address
from .registers import register_map

__all__ = ["HEAD", "MAGIC", "longest_frames", "read_flash", "write_flash"]

MAGIC = b"1spb"

#: Magic, digest of the configuration, bytes of the frames that follow.
HEAD = struct.Struct("<4sQI")
_CRC = struct.Struct("<I")
_U32 = struct.Struct("<I")

#: Share of the device's buffer that a frame may fill.
_SHARE = 4


def write_flash(image: Image) -> bytes:
    """The flash image of a model."""
    frames = b"".join(frame.encode() for frame in _frames(image))
    content = HEAD.pack(MAGIC, image.config.digest, len(frames)) + frames
    return content + _CRC.pack(zlib.crc32(content))


def longest_frames(config: Config) -> int:
    """Bytes that the frames of an image of this configuration never exceed."""
    registers = sum(entry.writable for _, _, entry in register_map(config))
    sizes = [_U32.size] * registers
    for region in config.regions:
        sizes += [len(part) * region.lanes for part in _parts(region, config.buffer_bytes)]
    return sum(map(coded_bytes, sizes))


def read_flash(data: bytes, config: Config) -> Image:
    """Invert :func:`write_flash`.

    Parameters
    ----------
    data : bytes
        What lies in the flash from the image's start on; more may follow.
    config : Config
        What the device is built for.

    Raises
    ------
    ModelFileError
        If it is no image for this configuration, truncated or damaged.
    """
    if len(data) < HEAD.size or not data.startswith(MAGIC):
        raise ModelFileError("this is no flash image; `firstspike flash` writes them")
    _, digest, length = HEAD.unpack_from(data)
    if digest != config.digest:
        raise ModelFileError(
            f"the flash image is for configuration {digest:016x}, but {config.digest:016x} was "
            "asked for; make it anew for this build"
        )
    end = HEAD.size + length
    if data[end : end + _CRC.size] != _CRC.pack(zlib.crc32(data[:end])):
        raise ModelFileError("the flash image is truncated or was changed: its CRC is wrong")
    names = {address: name for name, address, _ in register_map(config)}
    registers = {}
    regions = {region.name: bytearray(region.bytes) for region in config.regions}
    try:
        for frame in FrameDecoder().feed(data[HEAD.size : end]):
            if frame.op == Op.WRITE_REGISTER:
                (registers[names[frame.arg]],) = _U32.unpack(frame.payload)
            else:
                number, word = split_memory_address(frame.arg)
                region = config.regions[number]
                start = word * region.lanes
                regions[region.name][start : start + len(frame.payload)] = frame.payload
        model = registers.pop("model")
        image = Image(config, registers, {name: bytes(held) for name, held in regions.items()})
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise ModelFileError(f"the flash image holds no model ({error})") from error
    if image.crc != model:
        raise ModelFileError(
            f"the flash image names its model {model:08x}, but holds {image.crc:08x}; make it anew"
        )
    return image


def _frames(image: Image) -> Iterator[Frame]:
    """What a host would send; the model's number comes last."""
    addresses = {name: address for name, address, _ in register_map(image.config)}
    for name, value in image.registers.items():
        yield Frame(Op.WRITE_REGISTER, 0, addresses[name], _U32.pack(value))
    for number, region in enumerate(image.config.regions):
        data = image.regions[region.name]
        for part in _parts(region, image.config.buffer_bytes):
            written = data[part.start * region.lanes : part.stop * region.lanes]
            yield Frame(Op.WRITE_MEMORY, 0, memory_address(number, part.start), written)
    yield Frame(Op.WRITE_REGISTER, 0, addresses["model"], _U32.pack(image.crc))


def _parts(region: Region, buffer_bytes: int) -> Iterator[range]:
    """Words of the pieces in which a region is written."""
    most = max(1, buffer_bytes // _SHARE // region.lanes)
    for word in range(0, region.words, most):
        yield range(word, min(word + most, region.words))
