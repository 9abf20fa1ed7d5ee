"""The part of a synthetic set's card on gaps and static facts, against the training split."""

import numpy as np

from data_preprocess.dataset import EHRDataset


def facts_lines(synthetic: EHRDataset, train: EHRDataset) -> list[str]:
    """Markdown lines; none where the set has neither gaps nor static facts."""
    return [*_gap_lines(synthetic, train), *_static_lines(synthetic, train)]


def _gap_lines(synthetic: EHRDataset, train: EHRDataset) -> list[str]:
    if synthetic.observed.all():
        return []
    rows = [
        f"| {name} | {synthetic.observed[:, i].mean():.1%} | {train.observed[:, i].mean():.1%} |"
        for i, name in enumerate(train.feature_names)
    ]
    head = ["## Share of grid points with a measurement (`observed`)", ""]
    return [*head, "| channel | synthetic | train |", "| --- | --- | --- |", *rows, ""]


def _static_lines(synthetic: EHRDataset, train: EHRDataset) -> list[str]:
    if not synthetic.static_names:
        return []
    rows = []
    for index, name in enumerate(synthetic.static_names):
        made = synthetic.static[:, index]
        real = train.static[:, train.static_names.index(name)]
        rows += _level_rows(name, made, real) if "=" in name else [_number_row(name, made, real)]
    head = ["## Static facts (subgroups in stays; numbers as mean, s.d.)", ""]
    return [*head, "| fact | synthetic | train |", "| --- | --- | --- |", *rows, ""]


def _level_rows(name: str, made: np.ndarray, real: np.ndarray) -> list[str]:
    levels = np.unique(real[~np.isnan(real)])
    rows = [
        f"| {name} {level:g} | {int((made == level).sum())} | {int((real == level).sum())} |"
        for level in levels
    ]
    if np.isnan(real).any() or np.isnan(made).any():
        rows.append(f"| {name} unknown | {np.isnan(made).sum()} | {np.isnan(real).sum()} |")
    return rows


def _number_row(name: str, made: np.ndarray, real: np.ndarray) -> str:
    cells = [
        f"{np.nanmean(side):.4g}, {np.nanstd(side):.3g}, {np.isnan(side).mean():.1%} unknown"
        if not np.isnan(side).all()
        else "unknown"
        for side in (made, real)
    ]
    return f"| {name} | {' | '.join(cells)} |"
