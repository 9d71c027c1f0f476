"""Train a network and write it to a file.

The settings are those of a network that comes with Firstspike, with some replaced. The result is
a function of settings, data and seed. Needs PyTorch.
"""

import argparse
import json
from dataclasses import asdict
from typing import Any

from ..firmware.errors import BuildError, DataError
from ..firmware.files import require_writable
from . import common

EXAMPLES = (
    "mnist-784-600-10",
    "digits-64-32-10 --epochs 20 --seed 3 -o digits.npz",
    "mnist-784-600-10 --set hidden=[300] --set sparsity=0.003 --checkpoint run.pt",
    "--list",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "preset",
        nargs="?",
        default=common.DEFAULT_NETWORK,
        help=f"whose settings to start from (default: {common.DEFAULT_NETWORK})",
    )
    parser.add_argument("--list", action="store_true", help="list the presets and stop")
    parser.add_argument("--dataset", metavar="NAME", help="train on another data set")
    parser.add_argument("--epochs", type=common.positive, help="passes over the training images")
    parser.add_argument("--seed", type=common.non_negative, help="seed of everything random")
    parser.add_argument(
        "--set",
        action="append",
        type=_setting,
        default=[],
        metavar="NAME=VALUE",
        help="replace any other setting; VALUE is JSON or plain text",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="write the state after every epoch; go on from it"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to write the network (default: NAME.npz)"
    )
    common.add_output(parser)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text} is not of the form NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def run(options: argparse.Namespace) -> None:
    try:
        from ..train import TrainingConfig, train
    except ImportError as error:
        raise BuildError(
            f"training needs {error.name}, which is not installed; pip install 'firstspike[train]'"
        ) from error
    from .. import encode
    from ..sim import fast
    from ..sim.result import summarise

    presets = TrainingConfig.presets()
    if options.list:
        common.emit(options, {"presets": list(presets)}, "\n".join(presets))
        return
    if options.preset not in presets:
        raise DataError(
            f"there is no preset {options.preset}{common.suggest(options.preset, presets)}"
        )
    overrides = dict(options.set)
    overrides |= {
        name: getattr(options, name)
        for name in ("dataset", "epochs", "seed")
        if getattr(options, name) is not None
    }
    config = TrainingConfig.preset(options.preset, **overrides)
    output = options.output or f"{config.name}.npz"
    require_writable(output, options.checkpoint)
    dataset = common.load_dataset(config.dataset, progress=not options.quiet)
    network = train(config, dataset, progress=not options.quiet, checkpoint=options.checkpoint)
    network.save(output)
    samples = encode.from_meta(network.meta["encoding"]).encode(dataset.x_test)
    summary = summarise(fast.infer(network, samples), dataset.y_test, network)
    common.emit(
        options,
        {"output": output, "meta": dict(network.meta), "test": asdict(summary)},
        f"{output}: {network}, on the test images:\n{summary}",
    )
