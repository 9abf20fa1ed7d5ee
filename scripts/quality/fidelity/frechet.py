"""Frechet distance on fixed random-convolution features, overall and within each class."""

from operator import itemgetter

import numpy as np
from jaxtyping import Float

from classifier.fixed_features import PrincipalAxes, RandomConvolutions, Standardiser
from scripts.quality.common.comparison import Comparison, draw
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, QualityFlag, metric, times

MAX_ROWS = 10_000
NUM_KERNELS = 64
CLASS_AXES = 16  # a rare class has too few series for a covariance of all features
MIN_CLASS_ROWS = 2 * CLASS_AXES
MAX_CLASS_ROWS = 5000
REPEATS = 200  # of training series drawn again


def frechet_distance(
    first: Float[np.ndarray, "n feature"], second: Float[np.ndarray, "m feature"]
) -> float:
    """Squared 2-Wasserstein distance of the Gaussians fitted to the two sets (Heusel et al. 2017).

    |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2), symmetric in its arguments. Biased
    upwards in small sets: compare values of equal sizes only.
    """
    covariances = [np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    cross = np.linalg.eigvalsh(root @ covariances[1] @ root)
    shift = np.square(first.mean(0) - second.mean(0)).sum()
    spread = np.trace(covariances[0]) + np.trace(covariances[1])
    return max(0.0, float(shift + spread - 2 * np.sqrt(np.clip(cross, 0, None)).sum()))


@metric(
    FIDELITY,
    times("frechet", 2.0, 0.05, "shapes are distributed differently"),
    QualityFlag(
        "frechet_within_class",
        "series do not fit their label",
        "> 1.3 x real and p < 0.01",
        lambda v: (
            v["frechet_within_class_p"] < 0.01
            and v["frechet_within_class"] > 1.3 * v["frechet_within_class_reference"]
        ),
        itemgetter("frechet_within_class_p"),
    ),
)
def frechet_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Distance to held-out series per feature; the reference is train against held-out.

    Features are scaled by their standard deviation in train, and the distance is divided by their
    total variance there, so 1 means "one standard deviation apart in every feature".
    `frechet_within_class` averages over classes with equal weight: right series under wrong
    labels score well overall and badly here. Its reference is the mean over sets of training series
    drawn with replacement, `frechet_within_class_p` the chance of a value this high among these.
    """
    sides, shape = comparison.sides, comparison.train.x.shape[1:]
    encoder = RandomConvolutions(*shape, num_kernels=NUM_KERNELS, seed=seed)
    features = {name: encoder(side.x) for name, side in sides.items()}
    labels = {name: side.data.labels for name, side in sides.items()}
    size = min(MAX_ROWS, comparison.matched_size)
    standardise = Standardiser(features["train"])
    chosen = {name: standardise(f[draw(len(f), size, seed)]) for name, f in features.items()}
    scale = chosen["train"].var(0).sum()
    values = {
        name: float(frechet_distance(chosen["holdout"], chosen[other]) / scale)
        for name, other in (("frechet", "synthetic"), ("frechet_reference", "train"))
    }
    axes = PrincipalAxes(features["train"], CLASS_AXES)
    projected = {name: axes(f) for name, f in features.items()}
    within = within_class(projected, labels, comparison.train.data.label_names, seed=seed)
    return MetricReport(values=values | within.values, remarks=within.remarks)


def within_class(
    features: dict[str, Float[np.ndarray, "_ axis"]],
    labels: dict[str, np.ndarray],
    label_names: tuple[str, ...],
    *,
    seed: int,
) -> MetricReport:
    """Frechet distance class by class, beside that of training series drawn with replacement.

    A generator knows a rare class no better than its training series tell, so these are what it is
    measured by, in sets as large as the synthetic one. A class too small to compare gets a remark.
    """
    values: dict[str, float] = {}
    rows, remarks = [], []
    rng = np.random.default_rng(seed)
    for number, label in enumerate(label_names):
        members = {name: f[labels[name] == number] for name, f in features.items()}
        size = min(len(f) for f in members.values())
        if size < MIN_CLASS_ROWS:
            remarks.append(
                f"within-class Frechet distance: class {label} left out, its smallest set has "
                f"{size} series and {MIN_CLASS_ROWS} are needed"
            )
            continue
        train, holdout, synthetic = (
            members[name][draw(len(members[name]), MAX_CLASS_ROWS, seed)]
            for name in ("train", "holdout", "synthetic")
        )
        again = (rng.choice(train, len(synthetic)) for _ in range(REPEATS))
        distances = [frechet_distance(holdout, other) for other in (synthetic, *again)]
        rows.append(np.array(distances) / train.var(0).sum())
        values[f"frechet_within_class/{label}"] = float(rows[-1][0])
    if rows:
        found, *chance = np.mean(rows, axis=0)
        values["frechet_within_class"] = float(found)
        values["frechet_within_class_reference"] = float(np.mean(chance))
        at_least = int((np.array(chance) >= found).sum())
        values["frechet_within_class_p"] = (1 + at_least) / (1 + REPEATS)
    return MetricReport(values=values, remarks=remarks)
