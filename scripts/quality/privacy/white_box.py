"""White-box membership attack on the generator: who was in training, given the model's weights?

The strongest attacks of the literature read the model, not its samples. The score of a series is
how much lower its denoising loss is than that of a held-out series of the same class and
difficulty. It says what publishing the *model* would give away; a synthetic set gives away less.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from configs.runtime.processes import Processes
from data_preprocess.model_space.encoding import encode
from data_preprocess.splits import Splits
from scripts.quality.common.comparison import MIN_SERIES, Side, draw, of_unlike_series
from scripts.quality.common.metric_report import MetricReport, auc_interval, bounded
from scripts.quality.privacy.membership import chance_of_rate, rate_at_false_positives
from tardiff.diffusion.denoiser import Denoiser
from tardiff.privacy.denoising_loss import denoising_losses

MAX_ROWS = 3000  # members, non-members and calibrating series, each
RATES = {"tpr10": 0.1, "tpr1": 0.01}


class Suspects(NamedTuple):
    """Series of one kind with the model's losses on them.

    Attributes:
        x: model space, (n, C, T); y: labels.
        losses: of `tardiff.privacy.denoising_loss.denoising_losses`, (n, level).
    """

    x: Float[Tensor, "n channel time"]
    y: Int[np.ndarray, " n"]
    losses: Float[np.ndarray, "n level"]


def membership_scores(
    suspects: Suspects, known: Suspects, num_classes: int
) -> Float[np.ndarray, " n"]:
    """Higher = more likely a member: the mean over levels of the calibrated, negated loss.

    Calibration is a linear model, fitted on `known` held-out series, of the log loss at each level
    on the class, the energy and the roughness of a series; what it leaves is divided by its
    standard deviation among `known`. A difficult series is then no less a suspect than an easy one.
    """
    features = [_difficulty(each, num_classes) for each in (suspects, known)]
    targets = [np.log(np.maximum(each.losses, 1e-12)) for each in (suspects, known)]
    model = LinearRegression().fit(features[1], targets[1])
    rest, reference = (t - model.predict(f) for t, f in zip(targets, features, strict=True))
    spread = np.maximum(reference.std(0), 1e-12)
    return -(rest / spread).mean(1)


def white_box_report(
    members: Suspects, others: Suspects, known: Suspects, num_classes: int
) -> MetricReport:
    """AUC with its interval, and true-positive rates at 10 % and at 1 % false positives.

    Args:
        others: as many held-out series as `members`; known: further ones, for the calibration.
    """
    size = len(members.losses)
    scores = [membership_scores(each, known, num_classes) for each in (members, others)]
    is_member = np.repeat([1, 0], [size, len(others.losses)])
    auc = float(roc_auc_score(is_member, np.concatenate(scores)))
    values = bounded("white_box_auc", auc, auc_interval(auc, size, len(others.losses)), 0.5)
    for name, rate in RATES.items():
        found = rate_at_false_positives(scores[0], scores[1], rate)
        values |= {
            f"white_box_{name}": found,
            f"white_box_{name}_p": chance_of_rate(found, size, rate),
            f"white_box_{name}_reference": rate,
        }
    return MetricReport(values=values)


def attack_generator(
    denoiser: Denoiser,
    splits: Splits,
    *,
    seed: int,
    device: torch.device,
    processes: Processes | None = None,
) -> MetricReport:
    """The attack on a generator that was trained on `splits.train`.

    Half of the test series calibrate it, the other half are its non-members. A remark in place of
    values where there are too few of either: the interval of an AUC of 1 would have no width.

    Args:
        processes: in which the losses are taken; None: this one.
    """
    train, test = (
        of_unlike_series(Side(part, splits.normaliser.to_model(part.values)), seed).data
        for part in (splits.train, splits.test)
    )
    order = np.random.default_rng(seed).permutation(len(test))
    size = min(MAX_ROWS, len(order) // 2, len(train))
    if size < MIN_SERIES:
        few = f"{len(train)} training and {len(test)} test series that are not of one patient"
        needed = f"{MIN_SERIES} and {2 * MIN_SERIES} are needed"
        return MetricReport(remarks=[f"Not measured: {few}; {needed}."])
    seen = train.take(draw(len(train), size, seed))
    parts = [seen, test.take(order[:size]), test.take(order[-size:])]
    series = [(encode(splits.normaliser, each), torch.from_numpy(each.labels)) for each in parts]
    ask = partial(_ask, partial(denoising_losses, denoiser, device=device, seed=seed), series)
    losses = dict((processes or Processes()).run(ask, range(len(series))))
    members, others, known = (
        Suspects(x, y.numpy(), losses[number].numpy()) for number, (x, y) in enumerate(series)
    )
    return white_box_report(members, others, known, splits.train.num_classes)


def _ask(losses: Callable[..., Tensor], series: Sequence[tuple[Tensor, Tensor]], n: int) -> Tensor:
    return losses(*series[n])


def _difficulty(suspects: Suspects, num_classes: int) -> Float[np.ndarray, "n feature"]:
    x = suspects.x.double().numpy()
    energy = np.log1p(np.square(x).mean(2))
    roughness = np.log1p(np.square(np.diff(x, axis=2)).mean(2))
    return np.hstack([np.eye(num_classes)[suspects.y], energy, roughness])
