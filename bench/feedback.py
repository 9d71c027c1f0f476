"""What the errors of hidden neurons are worth: accuracy of learning from scratch, by feedback.

    python bench/feedback.py                     MNIST, 784-600-10, 20 epochs each
    python bench/feedback.py --shape 784-300-300-10 --feedback popcount \\
        --start 0.01 0.08 --dropout 0.1 --input-dropout 0 --activity 20

``popcount`` is the rule of ``docs/learning.md``. ``weighted`` takes the sign of the sum of weights
times errors, which hardware would need multipliers or adders for; ``fixed`` votes with the signs
that the weights started with, and ``frozen`` does not learn hidden layers at all. Everything else
is the same: order of the samples, settings and, but for ``frozen``, the start. The golden learner
learns, to the same weights as a device. No distortion of the images; figures are of the test set.
"""

import argparse
import json
import sys
from dataclasses import replace

import command
import numpy as np
from firstspike.data import load
from firstspike.firmware.learning import Progress, Rule
from firstspike.learning import Fit, initial_network, suggested_encoder
from firstspike.schedule import Schedule
from firstspike.sim.fast_learner import Learner

#: Mean and spread of hidden weights with which most neurons fire now and then.
FROZEN = (0.0, 0.1)

FEEDBACKS = ("popcount", "weighted", "fixed", "frozen")


def learn(
    shape: list[int],
    feedback: str,
    epochs: int,
    seed: int,
    *,
    schedule: Schedule,
    start: tuple[float, float] | None,
) -> list[float]:
    """Accuracy on the test set after each epoch; ``start`` is mean and spread of hidden weights."""
    mnist = load("mnist")
    encoder = suggested_encoder(mnist.inputs)
    used = (encoder.encode(mnist.x_train) >= 0).any(axis=0)
    if feedback == "frozen" and start is None:
        # Others make silent neurons fire; these have to do so as they are.
        start = FROZEN
    spread = {} if start is None else {"hidden": start}
    network = initial_network(shape, used=used, seed=seed, **spread)
    layers = len(network.layers)
    if feedback == "frozen":
        frozen = [0.0] * (layers - 1)
        schedule = replace(
            schedule, first=[*frozen, schedule.first[-1]], last=[*frozen, schedule.last[-1]]
        )
    learner = Learner(
        network,
        Rule.at_rest(layers),
        Progress.start(layers, seed),
        feedback="popcount" if feedback == "frozen" else feedback,
    )
    fit = Fit(
        learner,
        mnist.x_train,
        mnist.y_train,
        epochs=epochs,
        schedule=schedule,
        encoder=encoder,
        validation=(mnist.x_test, mnist.y_test),
        seed=seed,
    )
    accuracies = []
    for epoch in fit:
        accuracies.append(epoch.validation)
        print(f"{feedback}, seed {seed}: {epoch}", file=sys.stderr)
    return accuracies


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="784-600-10", help="default: %(default)s")
    parser.add_argument("--feedback", choices=FEEDBACKS, nargs="+", default=FEEDBACKS)
    parser.add_argument("--epochs", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=1, help="how many (default: %(default)s)")
    parser.add_argument(
        "--start", type=float, nargs=2, metavar="X", help="mean and spread of hidden weights"
    )
    parser.add_argument("--dropout", type=float, default=Schedule.dropout)
    parser.add_argument("--input-dropout", type=float, default=Schedule.input_dropout)
    parser.add_argument("--activity", type=int, default=Schedule.activity)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    shape = [int(size) for size in options.shape.split("-")]
    start = None if options.start is None else tuple(options.start)
    schedule = Schedule(
        dropout=options.dropout,
        input_dropout=options.input_dropout,
        activity=options.activity,
    )
    results = {
        feedback: [
            learn(shape, feedback, options.epochs, seed + 1, schedule=schedule, start=start)
            for seed in range(options.seeds)
        ]
        for feedback in options.feedback
    }
    if options.json:
        print(json.dumps(results, indent=2))
        return 0
    print(f"{options.shape}, {options.epochs} epochs; mean of the last three, by seed")
    print(f"{'feedback':<12}{'first epoch':>14}{'last three':>30}")
    for feedback, runs in results.items():
        first = " ".join(f"{run[0]:.2%}" for run in runs)
        last = " ".join(f"{np.mean(run[-3:]):.2%}" for run in runs)
        print(f"{feedback:<12}{first:>14}{last:>30}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
