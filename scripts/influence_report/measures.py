"""The numbers of the influence report, each as plain rows ready for JSON and tables."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from classifier.losses import per_sample_loss
from data_preprocess.model_space.encoding import EncodedSeries
from scripts.influence_report.named_sets import RankedSet
from scripts.utility.protocols import draw_per_class
from tardiff.guidance.diagnostics import score_all
from tardiff.guidance.direction_loader import DirectionLoader
from tardiff.influence.guidance_gradient import all_logits, guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.one_step_check import StepTest, one_step_test, rank_correlation
from tardiff.influence.parameter_space import ParamGrads, gradient_norms, inner, norm

Row = dict[str, Any]
BATCH = 512
GRADIENT_ROWS = 200  # series per class whose gradient norm is taken
STEP_NORM = 1e-3  # ||step|| / ||phi||
REPEATS = 5  # random guidance subsets per size


def norm_rows(
    model: nn.Module, name: str, series: EncodedSeries, label_names: Sequence[str]
) -> list[Row]:
    """Paper table 3: per class, count, norm of the class's mean gradient, and series' own norms."""
    labels = series.y.numpy()
    sizes = np.full(len(label_names), GRADIENT_ROWS)
    chosen = torch.from_numpy(draw_per_class(labels, sizes, np.random.default_rng(0)))
    norms = gradient_norms(model, per_sample_loss, series.x[chosen], series.y[chosen])
    rows = []
    for label in series.y.unique().tolist():
        mine = norms[series.y[chosen] == label]
        own = GuidanceLoss("nll", len(label_names), [label])
        mean = guidance_gradient(model, series.x, series.y, own)
        rows.append(
            {
                "set": name,
                "class": label_names[label],
                "series": int((series.y == label).sum()),
                "mean_gradient_norm": norm(mean),
                "series_norm_mean": float(mine.mean()),
                "series_norm_median": float(mine.median()),
                "series_norm_rows": len(mine),
            }
        )
    return rows


def distribution_rows(ranked: RankedSet) -> list[Row]:
    """Influence per class: count, mean, sd, quartiles, share that helps."""
    rows = []
    for label in np.unique(ranked.data.labels):
        values = ranked.influence[ranked.data.labels == label]
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        rows.append(
            {
                "set": ranked.name,
                "class": ranked.data.label_names[label],
                "series": len(values),
                "mean": float(values.mean()),
                "sd": float(values.std()),
                "q25": float(low),
                "median": float(middle),
                "q75": float(high),
                "share_positive": float((values > 0).mean()),
            }
        )
    return rows


def class_guidance(
    inputs: DirectionLoader, series: dict[str, EncodedSeries]
) -> tuple[list[Row], list[Row]]:
    """Paper tables 4-5: G from one class alone.

    Returns:
        (cosines between every pair of G's, the configured one included; mean influence of each
        class of each set under each G, in standard deviations of that set's influence).
    """
    model, names = inputs.classifier(), inputs.splits.train.label_names
    vectors = {"all": inputs.vector(model)[0]}
    for label, name in enumerate(names):
        only = replace(inputs.settings, guidance_loss="nll", classes=[label])
        vectors[f"only {name}"] = replace(inputs, settings=only).vector(model)[0]
    keys = list(vectors)
    cosines = [
        {"guidance": key, **{other: cosine(vectors[key], vectors[other]) for other in keys}}
        for key in keys
    ]
    influences = []
    for key, vector in vectors.items():
        direction = inputs.along(model, vector)
        for set_name, rows in series.items():
            scores = score_all(direction, rows.x, rows.y, inputs.device)
            means = {
                names[k]: float(scores[rows.y == k].mean() / scores.std())
                for k in rows.y.unique().tolist()
            }
            influences.append({"guidance": key, "set": set_name, **means})
    return cosines, influences


def measured_steps(inputs: DirectionLoader, candidates: EncodedSeries, *, rows: int) -> StepTest:
    """One training step on each of `rows` random series: predicted and measured."""
    guide = inputs.series(inputs.splits.val_guide)
    loss = _loss(inputs)
    double = inputs.classifier().double()
    x = guide.x.double()
    chosen = np.sort(np.random.default_rng(0).permutation(len(candidates.y))[:rows])
    return one_step_test(
        double,
        per_sample_loss,
        candidates.x[chosen],
        candidates.y[chosen],
        guide_gradient=guidance_gradient(double, x, guide.y, loss),
        guide_loss=lambda trial: loss.value(all_logits(trial, x, BATCH), guide.y),
        step_norm=STEP_NORM,
        title="one-step test",
    )


def size_curve(
    inputs: DirectionLoader, candidates: EncodedSeries, *, sizes: Sequence[int]
) -> list[Row]:
    """Paper figure 4: G of n stratified guidance rows against G of all of them, not
    preconditioned; per n, the mean and standard deviation over random subsets."""
    guide = inputs.series(inputs.splits.val_guide)
    loss, model = _loss(inputs), inputs.classifier()

    def vector(rows: Tensor) -> dict[str, Tensor]:
        return guidance_gradient(model, guide.x[rows], guide.y[rows], loss)

    def influence(g: dict[str, Tensor]) -> Tensor:
        direction = inputs.along(inputs.classifier(), g)
        return score_all(direction, candidates.x, candidates.y, inputs.device)

    full = vector(torch.arange(len(guide.y)))
    reference = influence(full)
    rows, labels = [], guide.y.numpy()
    for size in [size for size in sizes if size < len(labels)]:
        cosines, correlations = [], []
        # The class shares of the guidance rows, at least one row a class.
        of_class = np.maximum(1, np.round(size * np.bincount(labels) / len(labels)).astype(int))
        for repeat in range(REPEATS):
            drawn = draw_per_class(labels, of_class, np.random.default_rng(repeat))
            g = vector(torch.from_numpy(drawn))
            cosines.append(cosine(g, full))
            correlations.append(rank_correlation(influence(g), reference))
        rows.append(
            {
                "guidance_rows": size,
                "cosine": float(np.mean(cosines)),
                "cosine_sd": float(np.std(cosines, ddof=1)),
                "spearman": float(np.mean(correlations)),
                "spearman_sd": float(np.std(correlations, ddof=1)),
                "repeats": REPEATS,
            }
        )
    return rows


def _loss(inputs: DirectionLoader) -> GuidanceLoss:
    settings, num_classes = inputs.settings, inputs.splits.train.num_classes
    return GuidanceLoss(settings.guidance_loss, num_classes, settings.classes)


def cosine(left: ParamGrads, right: ParamGrads) -> float:
    """Of the angle between two vectors in parameter space."""
    return inner(left, right) / (norm(left) * norm(right))
