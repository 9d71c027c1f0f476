"""Samples learned a second on one core: the compiled golden learner, its reference, and a peer.

    python bench/learner.py                 MNIST's training images, 784-600-10 from random weights
    python bench/learner.py --rate 0.01     with rows updated as rarely as late in training

Every sample is learned from on its own, in order. The peer is PyTorch: stochastic gradient descent
with a batch of one on a multilayer perceptron of the same shape, which is what learning sample by
sample costs where there is a framework. Both run in one process on one thread each. Times are
processor time of this process, so other load on the machine does not count; the best of several
runs is taken.
"""

import argparse
import json
import sys
from importlib.metadata import version

import command
import numpy as np
from firstspike.data import load
from firstspike.encode import Binary
from firstspike.firmware.learning import ALWAYS, Progress, Rule
from firstspike.firmware.network import Layer, Network
from firstspike.sim import fast_learner, learner
from rates import rate, rate_lines

SHAPE = (784, 600, 10)
#: θ in units of what a weight adds up to in all, and the spread of the weights relative to that.
CHARGE = 384
SPREADS = (0.05, 0.03)
K = 4


def random_network(rng: np.random.Generator) -> Network:
    """A network to learn from scratch."""
    layers = []
    for inputs, neurons, spread in zip(SHAPE, SHAPE[1:], SPREADS, strict=False):
        weights = np.rint(rng.normal(0, spread * CHARGE, (inputs, neurons)))
        layers.append(Layer(weights.clip(-127, 127).astype(int), K, CHARGE << K, membrane_bits=24))
    return Network(layers, 32)


def torch_learn(images: np.ndarray, labels: np.ndarray) -> None:
    """One pass of stochastic gradient descent with a batch of one."""
    import torch

    torch.set_num_threads(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(SHAPE[0], SHAPE[1]), torch.nn.ReLU(), torch.nn.Linear(SHAPE[1], SHAPE[2])
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    targets = torch.from_numpy(labels)
    for image, target in zip(torch.from_numpy(images).split(1), targets.split(1), strict=True):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(image), target).backward()
        optimiser.step()


def measure(samples: np.ndarray, labels: np.ndarray, rule: Rule, repeats: int) -> dict:
    """Time the three on as many of ``samples`` as each is worth waiting for."""
    network = random_network(np.random.default_rng(1))
    start = Progress.start(len(network.layers))

    def learn(kind, count: int):
        return kind.Learner(network, rule, start).learn(samples[:count], labels[:count])

    few, some = max(1, len(samples) // 200), max(1, len(samples) // 20)
    learn(fast_learner, few)  # compile
    images = (samples == 0).astype(np.float32)
    rates = {
        "fast_learner": rate(lambda: learn(fast_learner, len(samples)), len(samples), repeats),
        "learner": rate(lambda: learn(learner, few), few),
        "pytorch": rate(lambda: torch_learn(images[:some], labels[:some]), some, repeats),
    }
    return {
        "network": str(network),
        "samples": len(samples),
        "erred": float(learn(fast_learner, len(samples)).erred.mean()),
        "pytorch_version": version("torch"),
        "samples_per_second": rates,
        "fast_learner_over_pytorch": rates["fast_learner"] / rates["pytorch"],
    }


def table(result: dict) -> str:
    """The result as text."""
    rates = result["samples_per_second"]
    peer = f"PyTorch {result['pytorch_version']}, batch of one"
    named = {
        "firstspike.sim.fast_learner": rates["fast_learner"],
        "firstspike.sim.learner": rates["learner"],
        peer: rates["pytorch"],
    }
    head = f"{result['network']}, {result['samples']} samples, {result['erred']:.1%} with an error"
    return "\n".join([head, "", *rate_lines(named, peer, "samples/s")])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument(
        "--rate", type=float, default=1.0, help="probability of updating a row (default: 1)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.samples < 1 or options.repeats < 1 or not 0 <= options.rate <= 1:
        parser.error("--samples and --repeats take at least 1, --rate 0 to 1")
    rule = Rule([round(options.rate * ALWAYS)] * 2, margin=3, dropout=ALWAYS // 5, activity=10)
    mnist = load("mnist")
    count = min(options.samples, len(mnist.x_train))
    samples = Binary().encode(mnist.x_train[:count])
    result = measure(samples, mnist.y_train[:count], rule, options.repeats)
    print(json.dumps(result, indent=2) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
