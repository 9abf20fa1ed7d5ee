"""An Objective for networks that train for a few steps."""

import dataclasses
from typing import Any

from tardiff.training.module import Objective


def objective(**changes: Any) -> Objective:
    base = Objective(
        prediction="v",
        observed_only=True,
        label_dropout=0.1,
        class_balanced=True,
        batch_size=16,
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup_steps=2,
        ema_decay=0.9,
    )
    return dataclasses.replace(base, **changes)
