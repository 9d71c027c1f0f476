"""Packed models: an image as a microcontroller takes it, flat, uncompressed and without names.

All numbers are little-endian. A head and a table, which lists registers and memory regions, are
followed by their CRC-32, and this by the contents of the regions, one after the other::

    head      "1spm", u16 format, u8 settings, u8 regions, u64 digest, u32 CRC of the image
    settings  u32 address, u32 value
    regions   u32 words, u32 bytes of a word, u32 CRC-32 of the contents
    CRC-32    of head and table

Contents are verified where they arrive: the device sums up its memories itself.
"""

import struct
import zlib

from .image import Image
from .registers import register_map

__all__ = ["FORMAT", "HEAD", "MAGIC", "REGION", "SETTING", "c_source", "pack"]

MAGIC = b"1spm"
FORMAT = 1

HEAD = struct.Struct("<4sHBBQI")
SETTING = struct.Struct("<II")
REGION = struct.Struct("<III")
_CRC = struct.Struct("<I")

_BYTES_A_LINE = 16


def pack(image: Image) -> bytes:
    """The packed model of an image."""
    settings = [
        (address, image.registers[name])
        for name, address, _ in register_map(image.config)
        if name in image.registers
    ]
    contents = [(region, image.regions[region.name]) for region in image.config.regions]
    table = HEAD.pack(
        *(MAGIC, FORMAT, len(settings), len(contents)), image.config.digest, image.crc
    )
    table += b"".join(SETTING.pack(address, value) for address, value in settings)
    table += b"".join(
        REGION.pack(region.words, region.lanes, zlib.crc32(data)) for region, data in contents
    )
    return table + _CRC.pack(zlib.crc32(table)) + b"".join(data for _, data in contents)


def c_source(image: Image, name: str) -> str:
    """A C header that holds a packed model as a constant array.

    Parameters
    ----------
    image : Image
    name : str
        What the array is called, made an identifier; ``NAME_DIGEST`` and ``NAME_CRC`` are the
        digest of its configuration and what the register ``model`` holds once it is loaded.
    """
    symbol = "".join(letter if letter.isalnum() else "_" for letter in name.lower())
    if not symbol[:1].isalpha():
        symbol = f"model_{symbol}"
    macro, packed = symbol.upper(), pack(image)
    lines = [
        f"/* The model {name}, packed for the Firstspike driver. */",
        "",
        f"#ifndef {macro}_H",
        f"#define {macro}_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define {macro}_DIGEST UINT64_C(0x{image.config.digest:016x})",
        f"#define {macro}_CRC UINT32_C(0x{image.crc:08x})",
        "",
        f"static const uint8_t {symbol}[{len(packed)}] = {{",
    ]
    for start in range(0, len(packed), _BYTES_A_LINE):
        line = packed[start : start + _BYTES_A_LINE]
        lines.append("    " + " ".join(f"0x{byte:02x}," for byte in line))
    return "\n".join([*lines, "};", "", "#endif", ""])
