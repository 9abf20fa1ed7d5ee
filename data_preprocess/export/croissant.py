"""Metadata of a set for programs: Croissant 1.1 (JSON-LD) and the YAML head of a card on the Hub.

Croissant: https://docs.mlcommons.org/croissant/ ; a Hub card is Markdown that begins with YAML.
"""

import datetime
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from configs.run_record import sha256_file
from configs.runtime.atomic_files import write_text
from data_preprocess.dataset import EHRDataset, bare_name, unit_of

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
LICENCE = "The licence and the data use agreement of the source data apply to this set too."
CITE_AS = (
    "Deng et al., TarDiff: Target-Oriented Diffusion Guidance for Synthetic Electronic Health "
    "Record Time Series Generation, KDD 2025, arXiv:2504.17613"
)
SUMMARY = (
    "Synthetic medical time series; no row is a patient. For research on training sets; not for "
    "clinical use."
)
_FORMATS = {
    ".npz": "application/zip",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
}
# The vocabulary of the standard: what a key of the JSON means.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
} | {
    key: f"cr:{key}"
    for key in (
        "arrayShape citeAs column containedIn equivalentProperty extract field fileProperty "
        "fileObject fileSet format includes isArray isLiveDataset jsonPath key md5 parentField "
        "path recordSet references regex repeated replace samplingRate separator source subField "
        "transform"
    ).split()
}


def write_croissant(
    path: Path,
    dataset: EHRDataset,
    *,
    name: str,
    files: Sequence[Path],
    tables: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Writes the Croissant description of a set.

    Args:
        path: where to; the files are named relative to its folder.
        name: of the set.
        files: all files of the set, there already; their SHA-256 is recorded.
        tables: per file name of a table, column -> "Integer", "Float", "Text" or "Boolean": a
            record set that programs can read row by row.
    """
    kind = SUMMARY if dataset.is_synthetic else "Time series of patients."
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": (
            f"{kind} {len(dataset)} series, {dataset.num_channels} channels x {dataset.length} "
            f"steps, in clinical units; per class: {dataset.per_class}."
        ),
        "license": LICENCE,
        "citeAs": CITE_AS,
        "version": "1.0.0",
        "datePublished": datetime.date.today().isoformat(),
        "keywords": [
            *(["synthetic data"] if dataset.is_synthetic else []),
            "electronic health records",
            "time series",
        ],
        "variableMeasured": [
            {"@type": "sc:PropertyValue", "name": bare_name(name), "unitText": unit_of(name)}
            for name in (*dataset.feature_names, *dataset.static_names)
        ],
        "distribution": [_file(file, path.parent) for file in files],
        "recordSet": [_record_set(file, columns) for file, columns in (tables or {}).items()],
    }
    write_text(path, json.dumps(described, indent=1, ensure_ascii=False) + "\n")


def hub_head(dataset: EHRDataset, *, name: str) -> str:
    """The YAML head of a card, with its fences."""
    sizes = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")
    head: dict[str, Any] = {
        "pretty_name": name,
        "license": "other",
        "license_name": "as-the-source-data",
        "license_details": LICENCE,
        "task_categories": ["tabular-classification", "time-series-forecasting"],
        "tags": ["synthetic", "medical", "time-series", "electronic-health-records"],
        "size_categories": [sizes[bisect_right((1_000, 10_000, 100_000, 1_000_000), len(dataset))]],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n"


def _file(file: Path, folder: Path) -> dict[str, str]:
    place = file.relative_to(folder).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": place,
        "name": place,
        "contentUrl": place,
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": _FORMATS.get(file.suffix, "application/octet-stream"),
        "sha256": sha256_file(file),
    }


def _record_set(file: str, columns: Mapping[str, str]) -> dict[str, Any]:
    owner = file.rsplit(".", 1)[0]
    return {
        "@type": "cr:RecordSet",
        "@id": owner,
        "name": owner,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{owner}/{column}",
                "name": column,
                "dataType": f"sc:{kind}",
                "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
            }
            for column, kind in columns.items()
        ],
    }
