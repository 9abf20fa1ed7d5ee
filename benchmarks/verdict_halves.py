"""How often does "useful: yes" hold on other patients, by the family of Holm's correction?

    python -m benchmarks.verdict_halves runs/d20/config.yaml runs/d21/config.yaml ... [--halvings 5]

The test patients of every experiment that was evaluated are halved at random. One half gives the
answer (scripts/results/useful.py) under three families for Holm's correction; the other half, the
same fits on patients that took no part in it, gives the gain again. Prints a Markdown table.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from configs import load_config
from configs.run_record import run_dir
from data_preprocess.build import load_splits
from scripts.from_config import evaluation_data, fitting
from scripts.results.answers import YES
from scripts.results.useful import answer_addition
from scripts.synthetic_sets import find_sets, load_set
from scripts.utility.bootstrap import holm
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import Fit, plan_fits
from scripts.utility.summary import Summary, select, summarise

FAMILIES = ("none", "sets in one protocol and ratio", "all rows of the table")


def evaluated(config_path: Path) -> tuple[dict[Fit, Predictions], np.ndarray]:
    """Predictions for the real test series, as stage 4 keeps them, and the patients of these."""
    config = load_config([str(config_path)])
    chosen, splits = config.evaluation, load_splits(config.data)
    folder, step = run_dir(config) / "synthetic", config.data.step_minutes
    files = find_sets(None, folder)
    sets = {name: load_set(path, splits, step_minutes=step) for name, path in files.items()}
    data = evaluation_data(splits, sets)
    fits = plan_fits(
        protocols=[name for name in chosen.protocols if name != "TRTS"],
        generators=list(data.synthetic),
        ratios=chosen.ratios,
        models=chosen.models[:1],
        seeds=chosen.seeds,
        baselines=chosen.baselines,
    )
    predictions = fitting(config, data.num_classes, splits.normaliser)(fits, data)
    return predictions, splits.test.subject_ids


def halved(subjects: np.ndarray, seed: int) -> Bool[np.ndarray, " n"]:
    """The series of a random half of the patients."""
    patients = np.unique(subjects)
    drawn = np.random.default_rng(seed).permutation(patients)[: len(patients) // 2]
    return np.isin(subjects, drawn)


def gains(
    predictions: Mapping[Fit, Predictions], subjects: np.ndarray, rows: Bool[np.ndarray, " n"]
) -> list[Summary]:
    """The AUROC rows that are compared with real-only training, on some of the series."""
    within = {fit: found.take(rows) for fit, found in predictions.items()}
    summaries = summarise(within, subjects[rows], resamples=1000)
    return [s for s in select(summaries, metric="auroc") if s.vs_real is not None]


def corrected(rows: Sequence[Summary], row: Summary, family: str) -> Summary:
    """`row` with its p-value corrected for a family of `rows`."""
    assert row.vs_real is not None
    if family == FAMILIES[1]:
        return row
    values = [s.vs_real.p for s in rows if s.vs_real is not None]
    p = holm(values)[rows.index(row)] if family == FAMILIES[2] else row.vs_real.p
    return replace(row, vs_real=replace(row.vs_real, p_holm=p))


def main() -> None:
    """Halves, asks, looks again, and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--halvings", type=int, default=5)
    given = parser.parse_args()
    again: dict[str, list[float]] = defaultdict(list)  # gain on the other half, where yes was said
    asked = 0
    for path in given.configs:
        predictions, subjects = evaluated(path)
        largest = max(fit.ratio or 0.0 for fit in predictions if fit.protocol == "TSRTR")
        for halving in range(given.halvings):
            first = halved(subjects, halving)
            rows, others = (gains(predictions, subjects, half) for half in (first, ~first))
            for row, other in zip(rows, others, strict=True):
                if (row.protocol, row.ratio) != ("TSRTR", largest):
                    continue
                asked += 1
                for family in FAMILIES:
                    answer = answer_addition(corrected(rows, row, family), int(first.sum()))
                    if answer.outcome == YES and other.vs_real is not None:
                        again[family].append(other.vs_real.mean)
    print(f"{asked} answers ({len(given.configs)} experiments, {given.halvings} halvings)\n")
    print("| corrected for | yes | gain on the other half, mean | of them above 0 | above 0.01 |")
    print("| --- | --- | --- | --- | --- |")
    for family in FAMILIES:
        values = np.array(again[family])
        if not len(values):
            print(f"| {family} | 0 | | | |")
            continue
        shares = [f"{100 * float((values > limit).mean()):.0f} %" for limit in (0.0, 0.01)]
        print(f"| {family} | {len(values)} | {values.mean():+.4f} | {shares[0]} | {shares[1]} |")


if __name__ == "__main__":
    main()
