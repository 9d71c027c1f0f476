"""What a bad line costs, and that no answer over it is wrong.

    python bench/link_faults.py                                inference, learning, and a sweep
    python bench/link_faults.py --target sim --sweep 0 --baud 12000000
    python bench/link_faults.py --json --plot sweep.svg

First MNIST through a line that inverts one bit in 10,000 and loses one byte in 1,000, both ways;
then the same while learning; then a sweep of bit-error rates, up to where the host gives up. Every
answer is compared with the golden model, every weight with the golden learner. Seconds are those of
the virtual board, as in `bench/link.py`: what the host computes takes none.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import command
import firstspike
import numpy as np
from firstspike import data, encode
from firstspike.firmware.config import Config
from firstspike.firmware.errors import LinkError
from firstspike.firmware.learning import Progress, Rule
from firstspike.firmware.transport import Transport
from firstspike.sim import fast
from firstspike.sim.fast_learner import Learner
from firstspike.sim.faults import FaultyLine
from firstspike.sim.virtual_board import VirtualBoard

RULE = Rule([3000, 6000], margin=10, dropout=16_384, activity=4, step=4, input_dropout=6_554)

#: Bit-error rates of the sweep.
RATES = (0, 1e-6, 1e-5, 3e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3)


@dataclass
class Figures:
    """What came of one batch.

    Parameters
    ----------
    faults : str
    samples, wrong : int
        Answers, and those that are not the golden model's; after learning, weights that differ.
    retries : int
        Frames sent again in the batch.
    load_seconds, seconds : float
        By the virtual board's clock.
    injected : dict
        Faults, of loading as well.
    error : str
        What the host gave up with, if it did.
    """

    faults: str
    samples: int = 0
    wrong: int = 0
    retries: int = 0
    load_seconds: float = 0.0
    seconds: float = 0.0
    injected: dict[str, int] | None = None
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return f"{self.faults:<26} gives up: {self.error}"
        return (
            f"{self.faults:<26} {self.samples:>6} answers, {self.wrong} wrong, {self.retries:>6} "
            f"frames sent again, {self.samples / self.seconds:8,.0f} a second, loaded in "
            f"{self.load_seconds:.2f} s"
        )


#: What is done on a device: it fills in the figures, by a clock.
Work = Callable[[firstspike.Device, Figures, Callable[[], float]], None]


class Timed:
    """A bad line before a board whose clock can be read."""

    def __init__(self, faults: str) -> None:
        self.line = FaultyLine(faults)

    def __call__(self, connect: Callable[[], Transport]) -> Transport:
        def keep() -> Transport:
            self.board = connect()
            assert isinstance(self.board, VirtualBoard)
            return self.board

        return self.line(keep)

    @property
    def now(self) -> float:
        return self.board.use.elapsed


def measure(
    port: tuple[str, int],
    config: Config,
    network: firstspike.Network,
    faults: str,
    work: Work,
) -> Figures:
    """Load a network into a target at a baud rate, over a bad line, and do some work."""
    target, baud = port
    figures = Figures(faults or "none")
    timed = Timed(faults)
    try:
        with firstspike.open(f"{target}:", config=config, baud=baud, line=timed) as device:
            device.load(network)
            figures.load_seconds = timed.now
            work(device, figures, lambda: timed.now)
    except LinkError as error:
        figures.error = str(error)
    figures.injected = timed.line.injected
    return figures


def infer(samples: np.ndarray, network: firstspike.Network) -> Work:
    """Work: have samples classified."""
    expected = fast.infer(network, samples)

    def work(device: firstspike.Device, figures: Figures, clock: Callable[[], float]) -> None:
        start, retries = clock(), device.statistics.retries
        result = device.infer(samples)
        figures.samples, figures.seconds = len(samples), clock() - start
        figures.retries = device.statistics.retries - retries
        wrong = np.zeros(len(samples), dtype=bool)
        for name in ("label", "step", "fired", "rows"):
            differs = getattr(result, name) != getattr(expected, name)
            wrong |= differs.reshape(len(samples), -1).any(axis=1)
        figures.wrong = int(wrong.sum())

    return work


def learn(samples: np.ndarray, labels: np.ndarray) -> Work:
    """Work: have samples learned, and compare all weights and generators afterwards."""

    def work(device: firstspike.Device, figures: Figures, clock: Callable[[], float]) -> None:
        progress = Progress.start(len(device.config.layers), 1)
        learner = Learner(device.network(), RULE, progress, has_row=device.has_row())
        learner.learn(samples, labels)
        start, retries = clock(), device.statistics.retries
        device.learn(samples, labels, RULE, progress)
        figures.samples, figures.seconds = len(samples), clock() - start
        figures.retries = device.statistics.retries - retries
        learned = device.network()
        pairs = zip(learned.layers, learner.network.layers, strict=True)
        wrong = sum(int((theirs.weights != ours.weights).sum()) for theirs, ours in pairs)
        figures.wrong = wrong + (device.progress != learner.progress)

    return work


def plot(sweep: list[Figures], path: str) -> None:
    """Draw samples a second over the bit-error rate."""
    from firstspike import plots
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    done = [(rate, one) for rate, one in zip(RATES, sweep, strict=True) if rate and not one.error]
    axes.semilogx(
        [rate for rate, _ in done], [one.samples / one.seconds for _, one in done], marker="o"
    )
    axes.set(xlabel="bit-error rate, both directions", ylabel="images a second", ylim=(0, None))
    axes.grid(alpha=0.3)
    plots.save(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", choices=("model", "sim"), default="model")
    parser.add_argument("--baud", type=int, default=3_000_000)
    parser.add_argument("--faults", default="flip=1e-4,drop=1e-3")
    parser.add_argument("--samples", type=int, default=10_000, help="to classify")
    parser.add_argument("--learned", type=int, default=2000, help="to learn")
    parser.add_argument("--sweep", type=int, default=1000, help="to classify at each rate")
    parser.add_argument("--plot", metavar="FILE", help="the sweep, as PNG, SVG or PDF")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    port, faults = (arguments.target, arguments.baud), arguments.faults
    network = firstspike.load_network("mnist-784-600-10")
    mnist = data.load("mnist")
    encoder = encode.from_meta(network.meta["encoding"])
    tests = encoder.encode(mnist.x_test)
    config = Config.for_network(network, [100, 10])
    found: dict[str, list[Figures]] = {"infer": [], "learn": [], "sweep": []}
    if arguments.samples:
        work = infer(tests[: arguments.samples], network)
        found["infer"] = [measure(port, config, network, faults, work)]
    if arguments.learned:
        lessons = encoder.encode(mnist.x_train[: arguments.learned])
        learning = Config.for_network(network, [100, 10], learning=True)
        work = learn(lessons, mnist.y_train[: arguments.learned])
        found["learn"] = [measure(port, learning, network, faults, work)]
    if arguments.sweep:
        work = infer(tests[: arguments.sweep], network)
        found["sweep"] = [measure(port, config, network, f"flip={rate:g}", work) for rate in RATES]
        if arguments.plot:
            plot(found["sweep"], arguments.plot)
    if arguments.json:
        print(json.dumps({name: [asdict(one) for one in all_] for name, all_ in found.items()}))
    else:
        for name, all_ in found.items():
            for one in all_:
                print(f"{name:<6} {one}")
    return int(any(one.wrong for all_ in found.values() for one in all_))


if __name__ == "__main__":
    sys.exit(command.run(main))
