"""summarise: fits -> one `Summary` per row of the table and metric, with paired differences.

How series and seeds are resampled, and what the intervals cover, is said in utility/bootstrap.py.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from scripts.utility.bootstrap import Difference, compare, holm, interval, resample_counts
from scripts.utility.metrics import METRICS, RAISED_BY_RESAMPLING, Predictions, point_scores, score
from scripts.utility.protocols import REAL, UNPAIRED, Fit

UNGUIDED = "unguided"  # name of the set that differences are paired with
SEED = 0  # of the resampling
REFERENCES = ("vs_unguided", "vs_real")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One metric of one row of the table: seeds averaged.

    Attributes:
        protocol, generator, ratio, model: as in `Fit`.
        metric: one of METRICS.
        mean, sd: over seeds; sd is None for a single seed.
        low, high: bootstrap percentile interval of the mean over test series; of ECE, which
            resampling raises, with the draws moved to have the mean as theirs.
        vs_unguided, vs_real: paired differences to the unguided set and to real-only training;
            None for the reference itself, where it was not evaluated, and for UNPAIRED protocols.
        vs_testing: of TRTS, the score on the synthetic set minus that of the same models on the
            real test series; no pairs, as the rows differ, and in no family of Holm's correction.
    """

    protocol: str
    generator: str
    ratio: float | None
    model: str
    metric: str
    num_seeds: int
    mean: float
    sd: float | None
    low: float
    high: float
    vs_unguided: Difference | None
    vs_real: Difference | None
    vs_testing: Difference | None = None


# One metric per seed: on the set as it is, (seeds,), and under each resample, (seeds, resamples).
Scores = tuple[np.ndarray, np.ndarray]
Row = tuple[str, str, float | None, str]  # protocol, generator, ratio, model


def summarise(
    results: Mapping[Fit, Predictions],
    test_subjects: Int[np.ndarray, " n"],
    *,
    resamples: int,
    metrics: Collection[str] = tuple(METRICS),
) -> list[Summary]:
    """One `Summary` per row and metric, in the order of `results`.

    p-values are corrected (Holm) within families, one a question: the differences to one reference
    in one metric of one downstream model, in one protocol at one ratio, over all sets.

    Args:
        test_subjects: patient of each real test series.
        resamples: bootstrap resamples.
        metrics: of `METRICS`.
    """
    scored = _score_rows(results, test_subjects, metrics, resamples=resamples)
    summaries = [_summary(row, metric, scored) for row in scored for metric in metrics]
    for reference in REFERENCES:
        summaries = _correct(summaries, reference)
    return summaries


def select(summaries: Sequence[Summary], **wanted: object) -> list[Summary]:
    """Those whose attributes have the given values."""
    return [s for s in summaries if all(getattr(s, key) == v for key, v in wanted.items())]


def _correct(summaries: Sequence[Summary], reference: str) -> list[Summary]:
    """The summaries with `p_holm` and `p_lost` of the differences to `reference` corrected."""
    families: dict[tuple[object, ...], list[int]] = {}
    for index, s in enumerate(summaries):
        if getattr(s, reference) is not None:
            question = (s.model, s.metric, s.protocol, s.ratio)
            families.setdefault(question, []).append(index)
    corrected = list(summaries)
    for members in families.values():
        differences = [getattr(summaries[index], reference) for index in members]
        values = holm([difference.p for difference in differences])
        lost = holm([difference.p_lost for difference in differences])
        for index, difference, *found in zip(members, differences, values, lost, strict=True):
            changed = {reference: replace(difference, p_holm=found[0], p_lost=found[1])}
            corrected[index] = replace(summaries[index], **changed)
    return corrected


def _score_rows(
    results: Mapping[Fit, Predictions],
    test_subjects: np.ndarray,
    metrics: Collection[str],
    *,
    resamples: int,
) -> dict[Row, dict[str, Scores]]:
    grouped: dict[Row, list[Predictions]] = {}
    for fit, predictions in results.items():
        row = (fit.protocol, fit.generator, fit.ratio, fit.model)
        grouped.setdefault(row, []).append(predictions)
    counts: dict[str, np.ndarray] = {}
    scored: dict[Row, dict[str, Scores]] = {}
    for row, per_seed in tqdm(grouped.items(), desc="bootstrap", unit="row", disable=None):
        scored_on = row[1] if row[0] == "TRTS" else REAL
        if scored_on not in counts:
            labels = per_seed[0].labels
            subjects = test_subjects if scored_on == REAL else np.arange(len(labels))
            counts[scored_on] = resample_counts(subjects, labels, resamples=resamples, seed=SEED)
        points = [point_scores(predictions, metrics) for predictions in per_seed]
        draws = [score(predictions, counts[scored_on], metrics) for predictions in per_seed]
        scored[row] = {}
        for metric in metrics:
            on_set = np.array([values[metric] for values in points])
            drawn = np.stack([values[metric] for values in draws])
            if metric in RAISED_BY_RESAMPLING:
                drawn = drawn + (on_set - drawn.mean(axis=1))[:, None]
            scored[row][metric] = on_set, drawn
    return scored


def _summary(row: Row, metric: str, scored: Mapping[Row, Mapping[str, Scores]]) -> Summary:
    protocol, generator, ratio, model = row
    points, draws = scored[row][metric]

    def against(reference: Row, *, wanted: bool = protocol not in UNPAIRED) -> Difference | None:
        if not wanted or reference == row or reference not in scored:
            return None
        points_there, there = scored[reference][metric]
        found = compare(draws, there, points, points_there)
        most = 2.0 if metric == "brier" else 1.0  # t of two seeds reaches beyond what scores can
        return replace(found, low=max(found.low, -most), high=min(found.high, most))

    low, high = interval(draws.mean(axis=0))
    return Summary(
        protocol=protocol,
        generator=generator,
        ratio=ratio,
        model=model,
        metric=metric,
        num_seeds=len(points),
        mean=float(points.mean()),
        sd=float(points.std(ddof=1)) if len(points) > 1 else None,
        low=max(low, 0.0),  # no metric is negative, draws that were moved back may be; keeps a NaN
        high=high,
        vs_unguided=against((protocol, UNGUIDED, ratio, model)),
        vs_real=against(("TRTR", REAL, 0.0, model)),
        vs_testing=against(("TRTR", REAL, 0.0, model), wanted=protocol == "TRTS"),
    )
