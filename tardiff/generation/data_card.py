"""Writes a synthetic set and the card beside it."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from configs.runtime.atomic_files import write_text
from data_preprocess.card import LICENCES, markdown_table
from data_preprocess.dataset import EHRDataset
from data_preprocess.export.croissant import hub_head, write_croissant
from data_preprocess.model_space.encoding import decode
from data_preprocess.splits import Splits
from data_preprocess.storage.dataset_files import save_dataset
from tardiff.guidance.diagnostics import GuidanceOutcome
from tardiff.privacy.accountant import privacy_lines


def _compared(head: str, what: str, rows: list[list[str]]) -> list[str]:
    """A section with a table of the set beside training; nothing without rows."""
    return [head, "", markdown_table([what, "synthetic", "train"], rows), ""] if rows else []


def _gap_rows(synthetic: EHRDataset, train: EHRDataset) -> list[list[str]]:
    if synthetic.observed.all():
        return []
    return [
        [name, *(f"{side.observed[:, i].mean():.1%}" for side in (synthetic, train))]
        for i, name in enumerate(train.feature_names)
    ]


def _static_rows(synthetic: EHRDataset, train: EHRDataset) -> list[list[str]]:
    rows = []
    for index, name in enumerate(synthetic.static_names):
        made = synthetic.static[:, index]
        real = train.static[:, train.static_names.index(name)]
        rows += _level_rows(name, made, real) if "=" in name else [_number_row(name, made, real)]
    return rows


def _level_rows(name: str, made: np.ndarray, real: np.ndarray) -> list[list[str]]:
    rows = [
        [f"{name} {level:g}", *(str(int((side == level).sum())) for side in (made, real))]
        for level in np.unique(real[~np.isnan(real)])
    ]
    unknown = [int(np.isnan(side).sum()) for side in (made, real)]
    return [*rows, [f"{name} unknown", *map(str, unknown)]] if any(unknown) else rows


def _number_row(name: str, made: np.ndarray, real: np.ndarray) -> list[str]:
    cells = [
        f"{np.nanmean(side):.4g}, {np.nanstd(side):.3g}, {np.isnan(side).mean():.1%} unknown"
        if not np.isnan(side).all()
        else "unknown"
        for side in (made, real)
    ]
    return [name, *cells]


def write_set(
    folder: Path, name: str, dataset: EHRDataset, facts: dict[str, Any], train: EHRDataset
) -> Path:
    """Writes `<name>.npz`, `<name>.card.md` and `<name>.croissant.json`; the path of the first.

    Args:
        dataset: the synthetic set.
        facts: what is known of its making.
    """
    path = folder / f"{name}.npz"
    croissant_of(path).unlink(missing_ok=True)
    save_dataset(path, dataset, extra=facts)
    head = hub_head(dataset, name=name)
    write_text(folder / f"{name}.card.md", head + card(name, dataset, facts, train))
    write_croissant(croissant_of(path), dataset, name=name, files=[path])
    return path


def croissant_of(path: Path) -> Path:
    """The last file of the set `path`: where it stands, all of them do."""
    return path.with_name(f"{path.stem}.croissant.json")


def to_dataset(x: Tensor, y: Tensor, splits: Splits) -> EHRDataset:
    """A set in model space as any other split: clinical units, no patient; everything observed
    where no masks are generated."""
    values, observed, static = decode(splits.normaliser, x)
    n = len(values)
    return EHRDataset(
        values=values,
        observed=observed,
        labels=y.cpu().numpy(),
        subject_ids=np.full(n, -1, np.int64),
        feature_names=splits.train.feature_names,
        label_names=splits.train.label_names,
        static=static,
        static_names=tuple(code.name for code in splits.normaliser.layout.static),
    )


def card(name: str, dataset: EHRDataset, facts: dict[str, Any], train: EHRDataset) -> str:
    """The data card, Markdown; arguments as in `write_set`."""
    config = facts["config"]
    lines = [
        f"# Synthetic set `{name}` of experiment `{facts['experiment']}`",
        "",
        "Synthetic series; no row is a patient. For research on training sets; not for clinical "
        "use, and no proof of privacy by itself: see the evaluation's privacy section.",
        "",
        f"- {len(dataset)} series, {dataset.num_channels} channels x {dataset.length} steps, in "
        "clinical units, within the range measured in the training split",
        f"- per class: {dataset.per_class}; training split: {train.per_class}",
        f"- source data: {LICENCES[facts['source']]}",
        f"- diffusion model: held-out denoising loss "
        f"{facts['diffusion']['val_loss']:.4f} at step {facts['diffusion']['step']}",
        f"- sampler: {_pairs(config['sampler'])}",
        f"- seed {config['generation']['seed']}, data fingerprint "
        f"`{facts['data_fingerprint'][:16]}`",
        f"- {_copies_line(facts['copies'])}",
        f"- {_resampled_line(facts['resampled'])}",
        *privacy_lines(facts),
        "",
        *_guidance_lines(facts["guidance"], train),
        *_compared(
            "## Channels, synthetic against train (mean, standard deviation)",
            "channel",
            _channel_rows(dataset, train),
        ),
        *_compared(
            "## Share of grid points with a measurement (`observed`)",
            "channel",
            _gap_rows(dataset, train),
        ),
        *_compared(
            "## Static covariates (subgroups as number of series; numbers as mean, s.d.)",
            "covariate",
            _static_rows(dataset, train),
        ),
    ]
    return "\n".join(lines)


def _guidance_lines(guidance: dict[str, Any] | None, train: EHRDataset) -> list[str]:
    if guidance is None:
        return ["Unguided.", ""]
    outcome = GuidanceOutcome(**guidance)
    columns = {
        "class": train.label_names,
        "asked shift (s.d.)": ["-" if w is None else f"{w:+.2f}" for w in outcome.requested],
        "realised (s.d.)": [f"{w:+.2f}" for w in outcome.realised],
        "multiplier": [f"{m:.3g}" for m in outcome.multiplier],
        "unguided s.d. of score": [f"{s:.3g}" for s in outcome.scale],
    }
    return [
        "## Guidance",
        "",
        outcome.line(train.label_names),
        "",
        markdown_table(list(columns), zip(*columns.values(), strict=True)),
        "",
        f"Guidance gradient: {_pairs(_origin(outcome.facts))}" if outcome.facts else "",
        *_strength_lines(outcome.facts.get("strength")),
        "",
    ]


def _origin(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != "strength" and value is not None}


def _strength_lines(strength: dict[str, Any] | None) -> list[str]:
    if strength is None:
        return []
    return [
        "",
        f"Predicted change of the guidance loss of a retrained model at w = {strength['w']:g}: "
        f"{strength['change']:+.4f} +- {strength['error']:.4f}.",
    ]


def _copies_line(copies: dict[str, int] | None) -> str:
    if copies is None:
        return "copies of training series: **not looked for** (generation.allow_copies=true)"
    return (
        f"copies of training series: none left; {copies['near']} near copies ({copies['copies']} "
        "of them copies) were replaced by new series"
    )


def _resampled_line(resampled: dict[str, float] | None) -> str:
    if resampled is None:
        return "not resampled: series as the model draws them"
    if not resampled["slope"]:
        return (
            "not resampled: too few series or patients, or trees could not tell them from training "
            "series"
        )
    return (
        "resampled toward the training series: boosted trees tell what the model draws from these "
        f"with AUC {resampled['auc']:.2f}; as if {resampled['effective_share']:.0%} of what was "
        "drawn had been kept"
    )


def _channel_rows(dataset: EHRDataset, train: EHRDataset) -> list[list[str]]:
    rows = []
    for index, name in enumerate(dataset.feature_names):
        made, real = dataset.values[:, index], train.values[:, index]
        rows.append([name, *(f"{side.mean():.4g}, {side.std():.3g}" for side in (made, real))])
    return rows


def _pairs(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
