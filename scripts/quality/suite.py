"""score_sets: fidelity and privacy of every synthetic set, each computed once and kept on disk."""

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from pathlib import Path

import numpy as np

from configs.runtime.errors import DataError
from configs.runtime.processes import Processes
from configs.runtime.progress import Progress
from data_preprocess.dataset import EHRDataset, concatenate
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from data_preprocess.storage.content_cache import ContentCache, array_fingerprint
from scripts.quality.common.comparison import (
    Comparison,
    independent,
    make_comparison,
    require_comparable,
)
from scripts.quality.common.metric_report import MetricReport, kept_report, merge
from scripts.quality.common.registry import FIDELITY, MEMBERS, PRIVACY, metrics

# Whose source decides a report.
CODE = (
    "scripts.quality",
    "classifier.fixed_features",
    "tardiff.privacy",
    "data_preprocess.model_space",
)

SetScores = dict[str, dict[str, MetricReport]]  # kind -> set -> report


def quality_report(
    kind: str,
    train: EHRDataset,
    holdout: EHRDataset,
    synthetic: EHRDataset,
    *,
    normaliser: Normaliser,
    seed: int,
) -> MetricReport:
    """All metrics of `kind`; docs/metrics.md explains each name.

    Fidelity is the distance of `synthetic` to `holdout`, and the `_reference` beside it that of
    `train`. Privacy is what `synthetic` gives away about `train`, measured against `holdout`.

    Args:
        train: real series that reached the generator; for privacy, all of them.
        holdout: real series of other patients from the same population.
        seed: of the subsamples and models of the metrics.

    Raises:
        DataError: the sets differ in channels, classes or length, or one is too small.
        MismatchError: the normaliser was fitted on other channels.
    """
    comparison, few = independent(make_comparison(train, holdout, synthetic, normaliser), seed)
    reports = [compute(comparison, seed=seed) for compute in metrics(kind)]
    report = merge([MetricReport(values=few), *reports])
    if kind != FIDELITY:
        return report
    more = channel_scores(report.values) | sizes(comparison)
    return merge([report, MetricReport(values=more)])


def sizes(comparison: Comparison) -> dict[str, float]:
    """Series in the smallest of the sets as they are compared, so of every patient one where these
    are alike, and of the class that is rarest in any of them."""
    counts = [side.data.class_counts for side in comparison.sides.values()]
    return {
        "fewest_series": float(min(map(sum, counts))),
        "fewest_of_class": float(min(map(min, counts))),
    }


def channel_scores(values: Mapping[str, float]) -> dict[str, float]:
    """What SDMetrics' reports show, from the values of fidelity: `channel_score` of the marginals,
    `channel_pair_score` of the correlations at equal times (absent for a single channel), and
    `quality_score`, the mean of the two; each with its reference.

    1 is the best score, but noise scores 0.9: values are looked at without their order in time. So
    no flag and no verdict reads them.
    """
    found: dict[str, float] = {}
    for suffix in ("", "_reference"):
        scores = {"channel_score": 1 - values[f"marginal_ks{suffix}"]}
        pairs = f"cross_correlation_difference{suffix}"
        if pairs in values:
            scores["channel_pair_score"] = 1 - values[pairs] / 2
        scores["quality_score"] = sum(scores.values()) / len(scores)
        found |= {f"{name}{suffix}": score for name, score in scores.items()}
    return found


def score_sets(
    splits: Splits,
    sets: Mapping[str, EHRDataset],
    kinds: Sequence[str],
    *,
    seed: int,
    cache: Path,
    members: Sequence[str] = tuple(MEMBERS),
    processes: Processes | None = None,
) -> SetScores:
    """The report of every set for every kind of `kinds`, computed now or read from `cache`.

    Fidelity compares with train and test. For privacy, the series of `members` stand against those
    of test.

    Args:
        members: splits that the sets may give away, of the population of test.
        processes: in which the reports are made; None: this one.

    Raises:
        DataError: a set cannot be compared; the message names it.
    """
    report = partial(_report, ContentCache(cache, CODE), splits, sets, seed, list(members))
    pairs = [(kind, name) for kind in kinds for name in sets]
    found: dict[tuple[str, str], MetricReport] = {}
    with Progress("fidelity and privacy", len(pairs), "reports") as bar:
        for pair, made in (processes or Processes()).run(report, pairs):
            found[pair] = made
            bar.update(1)
    return {kind: {name: found[kind, name] for name in sets} for kind in kinds}


def require_scorable(
    splits: Splits, sets: Mapping[str, EHRDataset], kinds: Sequence[str], members: Sequence[str]
) -> None:
    """Raises DataError, before any model is fitted, if a set cannot be compared."""
    for kind in kinds:
        train = _train(kind, splits, members)
        for name, dataset in sets.items():
            try:
                require_comparable(train, splits.test, dataset)
            except DataError as error:
                remedy = " ".join(f"evaluation.{kind}=false" for kind in kinds)
                raise DataError(
                    f"set {name!r}, {kind}: {error}; to leave the metrics out: {remedy}"
                ) from error


def _train(kind: str, splits: Splits, members: Sequence[str]) -> EHRDataset:
    """The real series that a set is compared with, beside those of test."""
    if kind != PRIVACY:
        return splits.train
    return reduce(concatenate, [getattr(splits, split) for split in members])


def fingerprint(dataset: EHRDataset) -> str:
    """SHA-256 of all that the metrics read of a set."""
    names = [dataset.feature_names, dataset.label_names, dataset.static_names]
    arrays = (dataset.values, dataset.observed, dataset.labels, dataset.static)
    return array_fingerprint(*map(np.array, names), *arrays)


def _report(
    store: ContentCache,
    splits: Splits,
    sets: Mapping[str, EHRDataset],
    seed: int,
    members: Sequence[str],
    pair: tuple[str, str],
) -> MetricReport:
    kind, name = pair
    key = {"kind": kind, "data": splits.fingerprint, "set": fingerprint(sets[name]), "seed": seed}
    if kind == PRIVACY:
        key["members"] = members

    def compute() -> MetricReport:
        sides = _train(kind, splits, members), splits.test, sets[name]
        try:
            return quality_report(kind, *sides, normaliser=splits.normaliser, seed=seed)
        except DataError as error:
            raise DataError(
                f"{kind} of set {name!r}: {error}; evaluation.{kind}=false leaves it out"
            ) from error

    return kept_report(store, key, compute)
