"""Predictive score: does a forecaster trained on synthetic series forecast real ones?

Next-step mean absolute error over all channels, at measured entries only (an imputed target is a
copy of an input). The usual score looks at the last channel alone and hardly moves; here the error
is set against the same forecaster trained on real series, and against carrying the last value.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, metric, outside

MAX_ROWS = 3000
LAGS = 4
HIDDEN = 256
RIDGE = 1e-3  # times the number of rows
EPSILON = 1e-9


class NextStepForecaster:
    """Ridge regression of the next step on the last steps, linear and random ReLU features.

    Closed form, so the score depends on the data and the seed alone, not on an optimiser.

    Args:
        x: training series in model space.
        seed: of the random features.
    """

    def __init__(self, x: Float[Tensor, "n channel time"], *, seed: int) -> None:
        self.lags = min(LAGS, x.shape[2] - 1)
        generator = torch.Generator().manual_seed(seed)
        size = x.shape[1] * self.lags + 1
        self.hidden = torch.randn(size, HIDDEN, generator=generator, dtype=torch.float64)
        self.hidden /= size**0.5
        self.offset = torch.randn(HIDDEN, generator=generator, dtype=torch.float64)
        inputs = self._inputs(x)
        targets = x.double()[:, :, self.lags :].permute(0, 2, 1).reshape(-1, x.shape[1])
        gram = inputs.T @ inputs
        gram += RIDGE * len(inputs) * torch.eye(len(gram), dtype=torch.float64)
        self.weights = torch.linalg.solve(gram, inputs.T @ targets)

    def __call__(self, x: Float[Tensor, "n channel time"]) -> Float[Tensor, "n channel step"]:
        """Forecasts of x[:, :, lags:], each from the true steps before it."""
        flat = self._inputs(x) @ self.weights
        return flat.reshape(len(x), -1, x.shape[1]).permute(0, 2, 1)

    def _inputs(self, x: Tensor) -> Tensor:
        windows = x.double().unfold(2, self.lags, 1)[:, :, :-1]  # (B, C, step, lag)
        num_steps = windows.shape[2]
        windows = windows.permute(0, 2, 1, 3).reshape(len(x) * num_steps, -1)
        time = torch.linspace(-1, 1, num_steps, dtype=torch.float64).repeat(len(x))[:, None]
        linear = torch.cat([windows, time], 1)
        ones = torch.ones_like(time)
        return torch.cat([ones, linear, torch.relu(linear @ self.hidden + self.offset)], 1)


def channel_errors(
    forecast: Float[Tensor, "n channel step"],
    target: Float[Tensor, "n channel step"],
    measured: Bool[np.ndarray, "n channel step"],
) -> Float[np.ndarray, " channel"]:
    """Mean absolute error per channel over measured targets; NaN where none was measured."""
    weights = torch.from_numpy(measured).double()
    total = ((forecast - target.double()).abs() * weights).sum((0, 2))
    return (total / weights.sum((0, 2))).numpy()


@metric(
    FIDELITY,
    outside(
        "predictive_ratio", 1.1, "forecasters trained on it are worse, or better, than on real"
    ),
)
def predictive_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Next-step error on held-out real series, trained on synthetic and on training series.

    `predictive_ratio` is the mean over channels of the two errors' ratio (1 = as good as real).
    """
    part = comparison.matched(MAX_ROWS, seed)
    x, measured = part.holdout.x, part.holdout.data.observed
    errors: dict[str, np.ndarray] = {}
    lags = min(LAGS, x.shape[2] - 1)
    for name, source in (("synthetic", part.synthetic.x), ("real", part.train.x)):
        forecaster = NextStepForecaster(source, seed=seed)
        errors[name] = channel_errors(forecaster(x), x[:, :, lags:], measured[:, :, lags:])
    carried = x[:, :, lags - 1 : -1].double()
    errors["carried"] = channel_errors(carried, x[:, :, lags:], measured[:, :, lags:])
    names = comparison.holdout.data.feature_names
    known = np.isfinite(errors["real"])
    if not known.any():
        return MetricReport(remarks=["predictive score: no measured target in the held-out series"])
    ratios = (errors["synthetic"] + EPSILON) / (errors["real"] + EPSILON)
    values = {
        "predictive_mae": float(errors["synthetic"][known].mean()),
        "predictive_mae_reference": float(errors["real"][known].mean()),
        "predictive_mae_carried": float(errors["carried"][known].mean()),
        "predictive_ratio": float(ratios[known].mean()),
        "predictive_ratio_worst": float(ratios[known].max()),
    }
    values |= {
        f"predictive_ratio/{name}": float(ratio)
        for name, ratio, ok in zip(names, ratios, known, strict=True)
        if ok
    }
    unknown = [name for name, ok in zip(names, known, strict=True) if not ok]
    remarks = [f"predictive score: no measured target for {', '.join(unknown)}"] if unknown else []
    return MetricReport(values=values, remarks=remarks)
