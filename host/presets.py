"""Settings of the shipped networks (see ``docs/training.md``)."""

from typing import Any

__all__ = ["PRESETS"]

#: Small networks have no capacity to spare for strong distortions.
_GENTLE = {"rotation": 5.0, "scale": 0.05, "shear": 0.05, "shift": 0.5, "elastic": 0.6}

#: Settings that differ from the defaults of :class:`firstspike.train.TrainingConfig`.
PRESETS: dict[str, dict[str, Any]] = {
    "mnist-784-600-10": {"epochs": 100, "validation": 0},
    "mnist-784-600-10-sparse": {
        "sparsity": 0.004,
        "spike_budget": 10.2,
        "teacher": "mnist-784-400-400-10",
        "sharpness": 10.0,
        "clips": (0.5, 0.6),
        "learning_rate": 3e-3,
        "epochs": 70,
        "validation": 0,
    },
    "mnist-784-600-10-4bit": {
        "bits": 4,
        "clips": (0.35, 0.3),
        "initial": "mnist-784-600-10",
        "learning_rate": 2e-3,
        "epochs": 30,
        "validation": 0,
    },
    "mnist-784-600-10-ternary": {
        "bits": 2,
        "clips": (0.22, 0.22),
        "initial": "mnist-784-600-10",
        "learning_rate": 3e-3,
        "epochs": 60,
        "validation": 0,
    },
    "mnist-784-128-10": {
        "hidden": (128,),
        "epochs": 80,
        "validation": 0,
        "distortion": _GENTLE,
    },
    "mnist-784-128-10-grey": {
        "hidden": (128,),
        "encoding": {"kind": "linear", "levels": 6, "spacing": 2, "floor": 48},
        "epochs": 40,
        "validation": 0,
        "distortion": _GENTLE,
    },
    "mnist-784-400-400-10": {
        "hidden": (400, 400),
        "clips": (0.5, 0.4, 0.3),
        "epochs": 40,
        "validation": 0,
    },
    "digits-64-32-10": {
        "dataset": "digits",
        "hidden": (32,),
        "encoding": {"kind": "linear", "levels": 8, "spacing": 2, "floor": 16},
        "clips": (1.0, 1.0),
        "sharpness": 20.0,
        "epochs": 300,
        "batch": 50,
        "warmup": 50,
        "averaging": 0.99,
        "validation": 0,
        "distortion": {
            "rotation": 5.0,
            "scale": 0.04,
            "shear": 0.04,
            "shift": 0.3,
            "elastic": 0.15,
        },
    },
}
