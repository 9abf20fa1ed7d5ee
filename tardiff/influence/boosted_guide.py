"""BoostedGuide: gradient boosting on summaries of the series, whose influence is a derivative.

Boosted trees are fitted on halves of the training series and keep their splits. Every leaf value is
then a Newton step of the weighted log-loss of all training series after the trees before it:

    value = rate * sum w (y - p) / (sum w p (1 - p) + l2)   over the series in the leaf,

so the logits of other rows are a smooth function of the weights w, and influence is minus the
derivative of their guidance loss in w. One backward pass gives its derivative in the two sums of
every leaf; the influence of any series is read off along its leaves. That other weights would also
choose other splits, and change the class shares, is left out. Trees have no gradient in the series,
so this guide can choose from a pool and not push a sampler.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import expit, softmax
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils import resample
from torch import Tensor
from torch.nn import functional

from classifier.losses import num_outputs
from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.convex_guide import LabelledDesign, require_classes
from tardiff.influence.guidance_losses import GuidanceLoss

FORESTS = 12  # on other halves and with other features; their influences are averaged
RATE, L2, LEAVES = 0.2, 1.0, 15
BOOSTING = {
    "max_iter": 50,  # as far as 200 trees of rate 0.05
    "learning_rate": RATE,
    # As the downstream model "gbdt" (scripts/utility/feature_models.py).
    "max_leaf_nodes": LEAVES,
    "l2_regularization": L2,
    "max_features": 0.5,
    "early_stopping": False,
}
# A tilt of a chosen set lowers the guidance loss of retrained trees about as much as twice the tilt
# does with refitted leaves: the series that leaves were not fitted to have influences that spread
# 1.2 to 1.6 times as wide, and new splits follow the tilt as well. Six pools, strengths of 0.1 and
# 0.2: 1.6 to 2.6 times the change (docs/results.md).
RESPONSE = 2.0
SAME_LEAF = 1e-9  # leaves whose values differ by less count as one

Features = Callable[[Series], Float[np.ndarray, "n feature"]]
Rows = Int[Tensor, "n forest tree out"]  # the entry of a tree's leaf values that a series gets
RowWeights = Float[Tensor, " n"]
Head = Float[Tensor, "forest tree leaf"]  # leaf values
# Derivatives of a loss in the two sums of every leaf.
LeafGradients = Float[Tensor, "forest tree leaf sum"]


class Forest:
    """Fitted trees that only say in which leaf a row ends.

    A leaf is known by its value, the difference between two stages of the prediction.

    Args:
        model: fitted.
        known: rows of which at least one ends in each leaf.
    """

    def __init__(
        self, model: HistGradientBoostingClassifier, known: Float[np.ndarray, "n feature"]
    ) -> None:
        self._model = model
        steps = _steps(model, known)
        self._edges = [_edges(np.sort(column)) for column in steps.reshape(len(known), -1).T]

    def __call__(self, x: Float[np.ndarray, "n feature"]) -> Int[Tensor, "n tree out"]:
        """The leaves of rows."""
        steps = _steps(self._model, x)
        columns = zip(self._edges, steps.reshape(len(x), -1).T, strict=True)
        leaves = np.stack([np.searchsorted(edges, column) for edges, column in columns], 1)
        outputs = steps.shape[2]
        return torch.from_numpy(leaves.reshape(steps.shape) * outputs + np.arange(outputs))


def _steps(
    model: HistGradientBoostingClassifier, x: Float[np.ndarray, "n feature"]
) -> Float[np.ndarray, "n tree out"]:
    """What every tree adds to the prediction; to the first the constant is added."""
    stages = [stage.reshape(len(x), -1) for stage in model.staged_decision_function(x)]
    return np.diff(np.stack(stages, 1), axis=1, prepend=0.0)


def _edges(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " _"]:
    """Half-way between the distinct ones of ascending values."""
    apart = np.diff(values) > SAME_LEAF
    return (values[:-1] + values[1:])[apart] / 2


@dataclass(frozen=True)
class BoostedGuide:
    """Boosted trees with fixed splits.

    Attributes:
        features: what the trees see of series.
        forests: several sets of trees, each a model of its own.
        rows, y: leaves and labels of the training series.
        start: the logits before the first tree.
        response: what a tilt changes in a retrained model, as a multiple of what it does in the
            refitted head.
    """

    features: Features
    forests: tuple[Forest, ...]
    rows: Rows
    y: Labels
    start: Float[Tensor, " out"]

    response: ClassVar[float] = RESPONSE

    def design(self, x: Series) -> Rows:
        """The leaves of series."""
        return _leaves(self.forests, self.features(x))

    @cached_property
    def head(self) -> Head:
        """The leaf values with equal weights."""
        return self.refitted(torch.ones(len(self.y), dtype=torch.float64))

    def refitted(self, weights: RowWeights) -> Head:
        """The leaf values of the same series with these weights."""
        fits = [self._boosted(number, weights.numpy()) for number in range(self.rows.shape[1])]
        return torch.from_numpy(np.stack([[step.values for step in steps] for steps in fits]))

    def loss_on(
        self, guidance: LabelledDesign, loss: GuidanceLoss, head: Head | None = None
    ) -> float:
        """The guidance loss of other rows at the best scale of each forest's logits, mean over
        forests; `head` in place of the own one."""
        fits = zip(self.head if head is None else head, guidance.rows.unbind(1), strict=True)
        found = [self._logits(values, rows) for values, rows in fits]
        losses = [loss.value(f * loss.best_scale(f, guidance.y), guidance.y) for f in found]
        return sum(losses) / len(losses)

    def influence_on(self, guidance: LabelledDesign, loss: GuidanceLoss) -> Float[Tensor, " n"]:
        """I of the training series, for the guidance loss of other rows."""
        return self.influence_of(self.rows, self.y, self.leaf_gradients(guidance, loss))

    def leaf_gradients(self, guidance: LabelledDesign, loss: GuidanceLoss) -> LeafGradients:
        """The derivatives of the guidance loss of other rows in the sums of every leaf.

        The chain rule from the last tree to the first. The logits of the training series pass on
        what a change of them does to the sums of all later trees.
        """
        gradients, equal = [], np.ones(len(self.y))
        for number, theirs in enumerate(guidance.rows.unbind(1)):
            steps, rows = self._boosted(number, equal), _by_tree(theirs)
            logits = self._logits(self.head[number], theirs)
            scale = loss.best_scale(logits, guidance.y)  # where the loss does not change with it
            of_guidance = scale * loss.gradient(scale * logits, guidance.y).numpy().ravel()
            of_mine, found = np.zeros_like(steps[0].p), []
            for step, ids in zip(reversed(steps), reversed(rows), strict=True):
                pull = _sum_by(ids, of_guidance, len(step.values))
                pull += _sum_by(step.ids, of_mine.ravel(), len(step.values))
                slopes = RATE * pull / (step.curvatures + L2)
                curvatures = -step.values * pull / (step.curvatures + L2)
                found.append(np.stack([slopes, curvatures], 1))
                per_p = curvatures[step.ids].reshape(step.p.shape) * (1 - 2 * step.p)
                per_p -= slopes[step.ids].reshape(step.p.shape)
                change = per_p * step.p  # through p, a sigmoid or a softmax
                of_mine = of_mine + change - step.p * change.sum(1, keepdims=True)
            gradients.append(torch.from_numpy(np.stack(found[::-1])))
        return torch.stack(gradients)

    def influence_of(self, rows: Rows, y: Labels, gradients: LeafGradients) -> Float[Tensor, " n"]:
        """Minus the derivative of the guidance loss in the weight of every series, mean over
        forests."""
        found, target = np.zeros(len(y)), self._targets(y)
        for values, of_sums, mine in zip(self.head, gradients, rows.unbind(1), strict=True):
            logits, trees = self._start(len(y)), _by_tree(mine)
            for value, pull, ids in zip(values.numpy(), of_sums.numpy(), trees, strict=True):
                p = _probabilities(logits)
                slopes, curvatures = (pull[ids, k].reshape(p.shape) for k in (0, 1))
                found -= (slopes * (target - p) + curvatures * p * (1 - p)).sum(1)
                logits += value[ids].reshape(p.shape)
        return torch.from_numpy(found / len(gradients))

    def _boosted(self, number: int, weights: Float[np.ndarray, " n"]) -> "list[_Step]":
        """The trees of a forest, fitted to the training series with these weights."""
        logits, target, steps = self._start(len(self.y)), self._targets(self.y), []
        for ids in _by_tree(self.rows[:, number]):
            p, w = _probabilities(logits), weights[:, None]
            size = LEAVES * len(self.start)
            slopes = _sum_by(ids, (w * (target - p)).ravel(), size)
            curvatures = _sum_by(ids, (w * p * (1 - p)).ravel(), size)
            steps.append(_Step(ids, p, curvatures, RATE * slopes / (curvatures + L2)))
            logits += steps[-1].values[ids].reshape(p.shape)
        return steps

    def _logits(self, values: Float[Tensor, "tree leaf"], rows: Tensor) -> Float[Tensor, "m out"]:
        """Of the rows of one forest."""
        logits = self._start(len(rows))
        for value, ids in zip(values.numpy(), _by_tree(rows), strict=True):
            logits += value[ids].reshape(logits.shape)
        return torch.from_numpy(logits)

    def _start(self, count: int) -> Float[np.ndarray, "_ out"]:
        return np.repeat(self.start.numpy()[None], count, axis=0)

    def _targets(self, y: Labels) -> Float[np.ndarray, "n out"]:
        outputs = len(self.start)
        return (y[:, None] if outputs == 1 else functional.one_hot(y, outputs)).double().numpy()


class _Step(NamedTuple):
    """A tree: leaves and probabilities of the training series, sums of curvature and values of the
    leaves."""

    ids: Int[np.ndarray, " entry"]
    p: Float[np.ndarray, "n out"]
    curvatures: Float[np.ndarray, " leaf"]
    values: Float[np.ndarray, " leaf"]


def _by_tree(rows: Tensor) -> np.ndarray:
    """(n, tree, out) -> (tree, n * out)"""
    return np.ascontiguousarray(rows.transpose(0, 1).numpy()).reshape(rows.shape[1], -1)


def _sum_by(ids: np.ndarray, terms: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(ids, weights=terms, minlength=size)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    return expit(logits) if logits.shape[1] == 1 else softmax(logits, axis=1)


def _leaves(forests: tuple[Forest, ...], seen: Float[np.ndarray, "n feature"]) -> Rows:
    return torch.stack([forest(seen) for forest in forests], 1)


def fit_boosted_guide(
    x: Series, y: Labels, *, features: Features, num_classes: int, seed: int
) -> BoostedGuide:
    """The guide of training series.

    Args:
        features: what the trees see of series.
        seed: of halves and trees.

    Raises:
        DataError: a class has fewer than two series.
    """
    require_classes(y, num_classes)
    seen, labels = features(x), y.numpy()
    forests = []
    for number in range(FORESTS):
        half = resample(
            np.arange(len(y)),
            replace=False,
            n_samples=len(y) // 2,
            stratify=labels,
            random_state=seed + number,
        )
        model = HistGradientBoostingClassifier(
            random_state=seed + number,
            min_samples_leaf=min(20, max(1, len(y) // 20)),  # of few series too trees split
            **BOOSTING,
        )
        forests.append(Forest(model.fit(seen[half], labels[half]), seen))
    shares = torch.bincount(y, minlength=num_classes).double() / len(y)
    start = shares.log() if num_outputs(num_classes) > 1 else shares[1:].logit()
    return BoostedGuide(features, tuple(forests), _leaves(tuple(forests), seen), y, start)


class BoostedInfluence:
    """A Score: the influence of a series on the guidance loss."""

    def __init__(self, guide: BoostedGuide, gradients: LeafGradients) -> None:
        self._guide, self._leaf_gradients = guide, gradients

    def score(self, x: Series, y: Labels) -> Float[Tensor, " batch"]:
        """I of every series."""
        return self._guide.influence_of(self._guide.design(x.cpu()), y.cpu(), self._leaf_gradients)
