"""Settings of the shipped networks (see ``docs/training.md``)."""

from typing import Any

__all__ = ["PRESETS"]

_GREY = {"kind": "linear", "levels": 6, "spacing": 2, "floor": 48}

#: Settings that differ from the defaults of :class:`firstspike.train.TrainingConfig`.
PRESETS: dict[str, dict[str, Any]] = {
    "mnist-784-600-10": {},
    "mnist-784-600-10-sparse": {"sparsity": 0.005},
    "mnist-784-600-10-4bit": {"bits": 4, "clips": (0.35, 0.3)},
    "mnist-784-600-10-ternary": {"bits": 2, "clips": (0.12, 0.12)},
    "mnist-784-128-10": {"hidden": (128,)},
    "mnist-784-128-10-grey": {"hidden": (128,), "encoding": _GREY},
    "mnist-784-400-400-10": {"hidden": (400, 400), "clips": (0.5, 0.4, 0.3)},
    "digits-64-32-10": {
        "dataset": "digits",
        "hidden": (32,),
        "clips": (1.0, 0.5),
        "batch": 50,
        "warmup": 50,
        "validation": 200,
    },
}
