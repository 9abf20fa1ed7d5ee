"""card: what a built data set says about itself, for programs (summary) and people (markdown)."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data_preprocess.dataset import EHRDataset
from data_preprocess.sources.registry import SourceData
from data_preprocess.splits import Splits

_PHYSIONET = "Goldberger et al., Circulation 2000;101(23):e215-e220."
_CREDENTIALED = (
    "the full release is under the PhysioNet Credentialed Health Data License, and what is made "
    "from it may not be shared outside it"
)
_DEMO = "the demo is under the Open Database License"
# data.source -> what the data are, their licence, and what to cite.
LICENCES = {
    "simulated": "Simulated (data_preprocess/sources/simulated); no patient is in it. MIT.",
    "physionet2012": (
        "PhysioNet/Computing in Cardiology Challenge 2012, Open Data Commons Attribution License "
        "v1.0 (ODC-By). Cite Silva et al., Computing in Cardiology 2012;39:245-248, and "
        f"{_PHYSIONET}"
    ),
    "physionet2019": (
        "PhysioNet/Computing in Cardiology Challenge 2019; the licence that comes with your copy "
        f"applies. Cite Reyna et al., Critical Care Medicine 2020;48(2):210-217, and {_PHYSIONET}"
    ),
    "mimic3": (
        f"MIMIC-III: {_CREDENTIALED}; {_DEMO}. Cite Johnson et al., Scientific Data 2016;3:160035, "
        f"and {_PHYSIONET}"
    ),
    "mimic4": (
        f"MIMIC-IV: {_CREDENTIALED}; {_DEMO}. Cite Johnson et al., Scientific Data 2023;10:1, and "
        f"{_PHYSIONET}"
    ),
    "eicu": (
        f"eICU Collaborative Research Database: {_CREDENTIALED}; {_DEMO}. Cite Pollard et al., "
        f"Scientific Data 2018;5:180178, and {_PHYSIONET}"
    ),
    "ptb": (
        "PTB Diagnostic ECG Database (PhysioNet, ptbdb); the licence that comes with your copy "
        "applies. Cite Bousseljot et al., Biomedizinische Technik 1995;40(s1):317, and "
        f"{_PHYSIONET}"
    ),
    "medformer": (
        "A data set in Medformer's layout; the licence of that data set (APAVA, ADFTD, TDBRAIN, "
        "PTB, ...) applies to everything made here. Cite its own paper."
    ),
    "yaib": (
        "A cohort of YAIB, ricu or OpenICU; the licence and the data use agreement of the database "
        "that it was drawn from (MIMIC, eICU, ...) apply to everything made here."
    ),
    "meds": (
        "A MEDS data set; the licence and the data use agreement of the data that were converted "
        "apply to everything made here."
    ),
    "table": "Your own table; its licence and data use agreement apply to everything made here.",
    "files": "Your own files; their licence and data use agreement apply to everything made here.",
}
_COHORTS = {
    "pool": "Pool (train and what is drawn from it)",
    "test": "Test set of the source",
    "val": "Validation set of the source",
}


def summary(splits: Splits, source: SourceData) -> dict[str, Any]:
    """Counts and summaries of the splits as JSON-able built-in types."""
    cohorts = source.cohorts()
    return {
        "feature_names": list(splits.train.feature_names),
        "label_names": list(splits.train.label_names),
        "length": splits.train.length,
        "flow": {name: [asdict(step) for step in cohort.flow] for name, cohort in cohorts.items()},
        "notes": {name: list(cohort.notes) for name, cohort in cohorts.items()},
        "class_counts": {name: split.class_counts.tolist() for name, split in splits.items()},
        "patients": {name: len(np.unique(split.subject_ids)) for name, split in splits.items()},
        "missing_share": {
            name: [round(share, 4) for share in (1 - split.observed.mean(axis=(0, 2))).tolist()]
            for name, split in splits.items()
        },
        "static": _static_summary(splits.train),
        "fingerprint": splits.fingerprint,
    }


def markdown(
    known: dict[str, Any], settings: dict[str, Any], splits: Splits, files: dict[str, Any]
) -> str:
    """The human data card.

    Args:
        known: what `summary` returned; files: what `describe_files` returned.
    """
    source = settings["source"]
    parts = [
        f"# Data card: {source}, {len(known['feature_names'])} channels x {known['length']} steps",
        LICENCES[source],
        "For research on synthetic data; not for clinical use.",
        "## Series kept and removed",
    ]
    for name, flow in known["flow"].items():
        rows = [[s["rule"], f"{s['removed']:,}", f"{s['left']:,}"] for s in flow]
        parts += [f"{_COHORTS[name]}:", markdown_table(["rule", "removed", "left"], rows)]
        parts += ["\n".join(f"- {note}" for note in known["notes"][name])]
    parts += ["## Splits (disjoint by patient)", _class_table(known)]
    parts += ["## Share of missing entries", _missing_table(known)]
    parts += ["Filled forward, then backward, then with the train median; `observed` keeps which."]
    parts += [
        f"## Normaliser ({splits.normaliser.kind}, fitted on train)",
        _normaliser_table(splits),
    ]
    if known["static"]:
        parts += ["## Static covariates (train)", _static_table(known["static"])]
    if files:
        lines = [
            f"- {Path(name).name}: {file['bytes']:,} bytes, SHA-256 `{file['sha256']}`"
            for name, file in files.items()
        ]
        parts += ["## Source files", "\n".join(lines)]
    parts += [f"Content fingerprint (SHA-256): `{known['fingerprint']}`"]
    return "\n\n".join(parts) + "\n"


def _static_summary(train: EHRDataset) -> dict[str, dict[str, float]]:
    summary = {}
    for index, name in enumerate(train.static_names):
        column = train.static[:, index]
        known = column[np.isfinite(column)].astype(np.float64)
        if len(known):
            low, middle, high = np.percentile(known, [25, 50, 75])
            summary[name] = {"mean": float(known.mean()), "median": middle, "q25": low, "q75": high}
        else:
            summary[name] = {}
        summary[name]["unknown"] = 1 - len(known) / max(len(column), 1)
    return summary


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; a bar within a cell does not end it."""
    lines = [header, ["---"] * len(header), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in cells] for cells in lines)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in escaped)


def _class_table(known: dict[str, Any]) -> str:
    rows = []
    for name, counts in known["class_counts"].items():
        total = sum(counts)
        shares = [f"{count:,} ({count / total:.1%})" for count in counts]
        rows.append([name, f"{total:,}", f"{known['patients'][name]:,}", *shares])
    return markdown_table(["split", "series", "patients", *known["label_names"]], rows)


def _missing_table(known: dict[str, Any]) -> str:
    names = list(known["missing_share"])
    rows = [
        [channel, *(f"{known['missing_share'][name][index]:.1%}" for name in names)]
        for index, channel in enumerate(known["feature_names"])
    ]
    return markdown_table(["channel", *names], rows)


def _normaliser_table(splits: Splits) -> str:
    rows = []
    for index, name in enumerate(splits.train.feature_names):
        measured = splits.train.values[:, index][splits.train.observed[:, index]]
        numbers = (measured.mean(dtype=float), measured.std(dtype=float))
        numbers += (splits.normaliser.low[index], splits.normaliser.high[index])
        rows.append([name, *(f"{number:.4g}" for number in numbers)])
    return markdown_table(["channel", "mean", "sd", "lowest", "highest"], rows)


def _static_table(static: dict[str, dict[str, float]]) -> str:
    keys = ("mean", "q25", "median", "q75")
    rows = []
    for name, summary in static.items():
        numbers = [f"{summary[key]:.4g}" if key in summary else "-" for key in keys]
        rows.append([name, *numbers, f"{summary['unknown']:.1%}"])
    return markdown_table(["covariate", *keys, "unknown"], rows)
