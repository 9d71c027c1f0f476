"""Compare golden model, cycle model and gateware in every spike and cycle.

With --random the networks and samples are random instead: ties, silence, extremes, inputs at any
step, one to four layers, 2 to 8 weight bits, on as many different builds as it takes. Ends with the
first divergence, if there is one: sample, step, layer, neuron, cycle, both values.
"""

import argparse

from .. import compile as compile_network
from ..firmware.errors import DataError, Mismatch
from ..shipped import load_network
from . import common

EXAMPLES = (
    "mnist-784-600-10",
    "digits-64-32-10 --lanes 8,3 -n 359",
    "network.npz --config build.image --seed 1",
    "--random 1000",
)

#: Random networks that share a build, which takes far longer than they do.
_PER_BUILD = 50

#: Samples of a network, by default.
_COUNT = 200


def configure(parser: argparse.ArgumentParser) -> None:
    common.add_network(parser, nargs="?")
    parser.add_argument(
        "--random",
        type=common.positive,
        metavar="N",
        help="verify N random networks, from --seed on (default: 0), instead of one",
    )
    common.add_data(parser, _COUNT)
    common.add_config(parser)
    common.add_output(parser)


def run(options: argparse.Namespace) -> None:
    if (options.network is None) == (options.random is None):
        raise DataError("verify takes either a network or --random N; give one of them")
    if options.random:
        if given := _unsuitable(options):
            raise DataError(
                f"{given} was given with --random, which chooses networks, samples and builds "
                "itself; leave it out"
            )
        _verify_random(options)
    else:
        _verify_network(options)


def _unsuitable(options: argparse.Namespace) -> str:
    """What is given and has no effect beside ``--random``; empty if there is nothing."""
    given = {
        "--dataset": options.dataset is not None,
        "--count": options.count != _COUNT,
        "--lanes": options.lanes != [common.DEFAULT_LANES],
        "--config": options.config is not None,
    }
    return next((name for name, is_given in given.items() if is_given), common.superfluous(options))


def _verify_network(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..sim.verify import verify

    network = load_network(options.network)
    batch = common.load_batch(options, network)
    image = compile_network(network, common.load_config(options, network))
    common.say(options, "building the simulation, unless it is in the cache")
    with tqdm(total=len(batch.samples), unit="img", disable=options.quiet or None) as bar:
        report = verify(network, batch.samples, image, progress=bar.update)
    values = {
        "network": options.network,
        "dataset": batch.dataset,
        "samples": len(report.cycles),
        "cycles": int(report.cycles.sum()),
        "equal": True,
    }
    common.emit(options, values, str(report))


def _verify_random(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..sim.random_networks import random_case
    from ..sim.verify import verify

    first = options.seed or 0
    seeds = range(first, first + options.random)
    samples = cycles = 0
    for seed in tqdm(seeds, unit="network", disable=options.quiet or None):
        config = random_case(seed - (seed - first) % _PER_BUILD).config
        case = random_case(seed, config=config)
        try:
            report = verify(case.network, case.samples, compile_network(case.network, config))
        except Mismatch as error:
            raise Mismatch(f"{case}: {error}") from error
        samples += len(report.cycles)
        cycles += int(report.cycles.sum())
    builds = -(-options.random // _PER_BUILD)
    values = {
        "networks": len(seeds),
        "builds": builds,
        "seed": first,
        "samples": samples,
        "cycles": cycles,
        "equal": True,
    }
    common.emit(
        options,
        values,
        f"{len(seeds)} random networks on {builds} builds: {samples} samples and {cycles} clock "
        "cycles agree between golden model, cycle model and simulated gateware",
    )
