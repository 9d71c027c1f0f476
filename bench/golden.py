"""Images a second on one core: the compiled golden model, its reference, and a peer.

    python bench/golden.py                     MNIST's test images, the shipped 784-600-10 network
    python bench/golden.py --network net.npz   another network, by file or name
    python bench/golden.py --synthetic         random images of MNIST's density, nothing to download

All three simulate the same network on the same images in the same run, on one thread each. The peer
is snnTorch: its ``Synaptic`` neuron with alpha = 1 − 2^−k and beta = 1 is this project's neuron in
floating point, without the rounding of the shift. It stops as early as it can, in the step in which
the last image of a batch is decided. Times are processor time of this process, so other load on the
machine does not count; the best of several runs is taken.
"""

import argparse
import json
import sys
from importlib.metadata import version

import command
import numpy as np
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Network
from firstspike.shipped import load_network
from firstspike.sim import fast, golden
from firstspike.sim.compare import require_equal
from firstspike.sim.result import summarise
from rates import rate, rate_lines

#: Share of the test images' pixels that are brighter than half.
MNIST_DENSITY = 0.132
PEER_BATCH = 256


def random_samples(rng: np.random.Generator, count: int, inputs: int) -> np.ndarray:
    """Binary images in which every pixel is lit with the same probability."""
    return np.where(rng.random((count, inputs)) < MNIST_DENSITY, 0, NEVER).astype(np.int32)


def mnist_samples(count: int) -> np.ndarray:
    """Binary images of MNIST's test set, repeated if there are fewer than ``count``."""
    from firstspike.data import load
    from firstspike.encode import Binary

    samples = Binary().encode(load("mnist").x_test)
    return samples[np.arange(count) % len(samples)]


def snntorch_labels(network: Network, samples: np.ndarray) -> np.ndarray:
    """Decide with snnTorch, one spike a neuron, first output spike wins."""
    import snntorch
    import torch

    torch.set_num_threads(1)
    linears = [torch.tensor(layer.weights.T, dtype=torch.float32) for layer in network.layers]
    populations = [
        snntorch.Synaptic(
            alpha=1 - 2.0**-layer.k,
            beta=1.0,
            threshold=layer.threshold - 0.5,  # snnTorch fires above the threshold, not at it
            reset_mechanism="none",
        )
        for layer in network.layers
    ]
    labels = []
    with torch.no_grad():
        for part in torch.from_numpy(samples).split(PEER_BATCH):
            states = [population.reset_mem() for population in populations]
            fired = [torch.zeros(len(part), layer.neurons) for layer in network.layers]
            label = torch.full((len(part),), -1)
            for step in range(network.steps):
                spikes = (part == step).float()
                for level, (linear, population) in enumerate(
                    zip(linears, populations, strict=True)
                ):
                    charge = torch.nn.functional.linear(spikes, linear)
                    above, *states[level] = population(charge, *states[level])
                    spikes = above * (1 - fired[level])
                    fired[level] += spikes
                membrane = states[-1][1]
                best = torch.where(spikes > 0, membrane, -torch.inf).argmax(dim=1)
                label = torch.where((label < 0) & spikes.any(dim=1), best, label)
                if (label >= 0).all():
                    break
            labels.append(torch.where(label < 0, membrane.argmax(dim=1), label))
    return torch.cat(labels).numpy()


def measure(network: Network, samples: np.ndarray, repeats: int) -> dict:
    """Time the three on as many of ``samples`` as each is worth waiting for."""
    found = fast.infer(network, samples)
    few = samples[: max(1, len(samples) // 40)]
    some = samples[: max(1, len(samples) // 10)]
    require_equal(golden.infer(network, few), fast.infer(network, few), network)
    peer_labels = snntorch_labels(network, some)
    rates = {
        "fast": rate(lambda: fast.infer(network, samples), len(samples), repeats),
        "golden": rate(lambda: golden.infer(network, few), len(few)),
        "snntorch": rate(lambda: snntorch_labels(network, some), len(some), repeats),
    }
    summary = summarise(found, None, network)
    return {
        "network": str(network),
        "samples": len(samples),
        "input_spikes": summary.input_spikes,
        "hidden_spikes": summary.hidden_spikes,
        "mean_step": summary.mean_step,
        "snntorch_version": version("snntorch"),
        "snntorch_same_label": float((peer_labels == found.label[: len(some)]).mean()),
        "images_per_second": rates,
        "fast_over_snntorch": rates["fast"] / rates["snntorch"],
    }


def table(result: dict) -> str:
    """The result as text."""
    rates = result["images_per_second"]
    peer = f"snnTorch {result['snntorch_version']}"
    named = {
        "firstspike.sim.fast": rates["fast"],
        "firstspike.sim.golden": rates["golden"],
        peer: rates["snntorch"],
    }
    lines = [
        result["network"],
        f"{result['samples']} images, {result['input_spikes']:.1f} input spikes, "
        f"{result['hidden_spikes']:.1f} hidden spikes, mean decision step "
        f"{result['mean_step']:.1f}; snnTorch decides for the same label in "
        f"{100 * result['snntorch_same_label']:.2f} %",
        "",
        *rate_lines(named, peer, "images/s"),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="mnist-784-600-10", help="default: %(default)s")
    parser.add_argument("--synthetic", action="store_true", help="random images instead of MNIST")
    parser.add_argument("--images", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.images < 1 or options.repeats < 1:
        parser.error("--images and --repeats take at least 1")
    rng = np.random.default_rng(0)
    network = load_network(options.network)
    if options.synthetic:
        samples = random_samples(rng, options.images, network.inputs)
    else:
        samples = mnist_samples(options.images)
    result = measure(network, samples, options.repeats)
    print(json.dumps(result, indent=2) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
