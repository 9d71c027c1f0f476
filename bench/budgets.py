"""Build every configuration that has a budget, and check what it takes and reaches.

    python bench/budgets.py                            takes hours; builds in the cache are quick
    python bench/budgets.py --board icebreaker
    python bench/budgets.py --record                   writes the reports to boards/records as well

Ends with 1 if a build exceeds its budget, in boards/budgets.json, or there is none.
"""

import argparse
import sys

from firstspike import boards
from firstspike.boards.budget import RECORDS, Budget, budgets
from firstspike.boards.build import build, configure
from firstspike.build_report import BuildReport
from firstspike.data import encode_test_images
from firstspike.firmware.errors import FirstspikeError
from firstspike.shipped import load_network


def measure(budget: Budget) -> BuildReport:
    """Build and report."""
    board = boards.load(budget.board)
    network = load_network(budget.network)
    built = build(
        board,
        configure(board, network, budget.lanes, ways=budget.ways, learning=budget.learning),
        clock_hz=budget.clock_hz,
        constraint_hz=budget.constraint_hz,
        seed=budget.seed,
        allow_timing_miss=True,
    )
    return BuildReport.of(built, network, *encode_test_images(network))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--board", help="only this one")
    parser.add_argument("--record", action="store_true", help="write the reports to boards/records")
    arguments = parser.parse_args()
    excesses = []
    for budget in budgets():
        if arguments.board not in (None, budget.board):
            continue
        try:
            report = measure(budget)
            if arguments.record:
                report.save(RECORDS / f"{budget.name}.json")
        except FirstspikeError as error:
            excesses.append(f"{budget.name}: {error}")
        else:
            found = budget.excesses(report.build.used, report.build.fmax_hz)
            excesses += found
            latency = report.latency_us.mean
            print(
                f"{budget.name:<48} {report.build.used.luts:6} LUT {report.build.used.ffs:6} FF "
                f"{report.build.used.block_rams:4} block RAM {report.build.fmax_hz / 1e6:7.2f} MHz "
                f"{latency:8.2f} µs  {'exceeds its budget' if found else 'within its budget'}",
                flush=True,
            )
    print(*excesses, sep="\n", file=sys.stderr, end="\n" if excesses else "")
    return bool(excesses)


if __name__ == "__main__":
    sys.exit(main())
