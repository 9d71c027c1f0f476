"""List the boards that bitstreams are built for."""

import argparse
from dataclasses import asdict
from typing import Any

from . import common

EXAMPLES = (
    "",
    "--json",
)


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    from .. import boards

    values: list[dict[str, Any]] = []
    for name in boards.names():
        board = boards.load(name)
        values.append(
            {
                "name": name,
                "title": board.title,
                "part": board.part,
                "family": board.family.name,
                "resources": asdict(board.resources),
                "block_ram_bits": board.family.block_ram_bits,
                "clock_hz": board.family.nearest_clock(board, board.clock_hz),
                "baud": board.baud,
                "url": board.vendor_url,
            }
        )
    lines = [f"{'board':<17}{'part':<22}{'LUTs':>7}  {'RAM (kbit)':>10}  {'clock':>9}  {'baud':>8}"]
    for entry in values:
        memory = entry["resources"]["block_rams"] * entry["block_ram_bits"] / 1024
        memory += entry["resources"]["large_rams"] * boards.LARGE_RAM_BITS / 1024
        lines.append(
            f"{entry['name']:<17}{entry['part']:<22}{entry['resources']['luts']:>7}  "
            f"{memory:>10.0f}  {entry['clock_hz'] / 1e6:>5.4g} MHz  {entry['baud']:>8}  "
            f"{entry['url']}"
        )
    common.emit(options, {"boards": values}, "\n".join(lines))
