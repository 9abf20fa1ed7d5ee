"""build: raw source -> {train,val_guide,val_select,test}.npz, normaliser.json, data.json, card.md.

`python -m data_preprocess.build [config.yaml] [key=value ...]`. Later stages call `ensure_built`
or `load_splits`. The folder appears under its name only when all of it is written.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from configs import KNOWN, from_sections
from configs.cli import run_stage
from configs.run_record import read_mapping, sha256_file, write_mapping
from configs.runtime.atomic_files import fresh_folder, write_text
from configs.runtime.errors import DataError, MismatchError, MissingInputError, UserError
from configs.schema.experiment import DataConfig, ExperimentConfig
from configs.schema.fields import walk
from data_preprocess import card
from data_preprocess.cohort import Cohort
from data_preprocess.dataset import EHRDataset, LabelledSeries
from data_preprocess.doubts import doubts, leaks, too_few
from data_preprocess.impute import impute, train_medians
from data_preprocess.model_space.fit import fit_space
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.sources.registry import Settings, read_source
from data_preprocess.split_assignment import assign
from data_preprocess.splits import SPLIT_NAMES, Splits
from data_preprocess.storage.dataset_files import load_dataset, save_dataset
from data_preprocess.storage.safe_npy import read_npz
from data_preprocess.storage.source_files import changed_files, describe_files, moved_files

FORMAT = 1
RECORD = "data.json"
MIN_STEPS = 2  # a series of one point has no course in time
TRUE_RISK = "true_risk.npz"
REBUILD = "`python -m data_preprocess.build <config.yaml> data.rebuild=true`"
_FILES = tuple(f"{name}.npz" for name in SPLIT_NAMES) + ("normaliser.json", "card.md")
log = logging.getLogger("tardiff.data")


def main(config: ExperimentConfig) -> None:
    """Builds the splits of `config.data`, or says that they are there already."""
    built = ensure_built(config.data)
    folder = Path(config.data.dir)
    log.info("%s: %s", "built" if built else "already built with these settings", folder)
    log.info("data card: %s", folder / "card.md")


def ensure_built(data: DataConfig) -> bool:
    """Builds the splits unless they are there; True if it built.

    Raises:
        MismatchError: they were built with other settings or from other source files, and
            `data.rebuild` is off; names each differing key, old -> new, and each file.
        MissingInputError: of these settings one names a file that is not there.
        UserError: the folder holds something else or cannot be written; or bad input.
    """
    folder = Path(data.dir)
    if (folder / RECORD).is_file() and not data.rebuild:
        _require_same_settings(folder, data)
        return False
    if folder.exists() and not (folder / RECORD).is_file() and any(folder.iterdir()):
        raise UserError(
            f"data.dir={folder} exists but holds no {RECORD}: it was not made by this program and "
            "is left alone - choose another data.dir, or empty the folder"
        )
    with fresh_folder(folder) as temporary:
        _build(data, temporary)
    return True


def load_splits(data: DataConfig) -> Splits:
    """The built splits, verified against the settings and the recorded SHA-256 of every file.

    Raises:
        MissingInputError: they are not built; names the folder and the commands that build it.
        MismatchError: they were built with other settings, or the source files changed.
        DataError: a file is damaged or was changed.
    """
    folder = Path(data.dir)
    if not (folder / RECORD).is_file():
        raise MissingInputError(
            f"{folder / RECORD} does not exist: the splits are not built. Run "
            "`python -m data_preprocess.build <config.yaml>` (or `bash train.sh <config.yaml>`, "
            "which builds them first). No data at hand? `bash scripts/quickstart.sh` runs "
            "everything on the embedded cohort"
        )
    _require_same_settings(folder, data)
    record = _read_record(folder)
    for name, expected in record["sha256"].items():
        _require_sha256(folder / name, expected)
    return Splits(
        **{name: load_dataset(folder / f"{name}.npz") for name in SPLIT_NAMES},
        normaliser=Normaliser.load(folder / "normaliser.json"),
        fingerprint=record["fingerprint"],
    )


def load_true_risk(data: DataConfig) -> dict[str, Float[np.ndarray, "n k"]]:
    """P(label = k) of the stays of val_select and test; empty unless the stays were simulated."""
    folder = Path(data.dir)
    expected = _read_record(folder)["sha256"].get(TRUE_RISK)
    if expected is None:
        return {}
    _require_sha256(folder / TRUE_RISK, expected)
    return read_npz(folder / TRUE_RISK)


def settings_of(data: DataConfig) -> dict[str, Any]:
    """The settings that decide the content of the splits, as flat dotted keys.

    Where the folder is and whether to rebuild it do not, nor do the resources of reading and the
    sections of other sources.
    """
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(data):
        value = getattr(data, field.name)
        if dataclasses.is_dataclass(value):
            if field.name == data.source:
                flat |= {f"{field.name}.{k}": v for k, v in vars(value).items()}
            # What is not asked for must not make folders built before it could be differ.
            elif field.name == "space":
                flat |= {f"space.{k}": v for k, v in vars(value).items() if v}
        elif field.name not in ("dir", "rebuild", "memory_limit", "threads") and value != {}:
            flat[field.name] = value
    return flat


def make_splits(cohorts: Mapping[str, Cohort], data: DataConfig) -> Splits:
    """Cohorts by the name of their split -> imputed splits with their normaliser.

    Raises:
        DataError: too few grid points, or a channel that no training stay has.
    """
    steps = cohorts["train"].values.shape[2]
    if steps < MIN_STEPS:
        raise DataError(
            f"the series have {steps} grid point; at least {MIN_STEPS} are needed - widen "
            "data.window_hours or lower data.step_minutes"
        )
    fill = train_medians(cohorts["train"].values, cohorts["train"].feature_names)
    datasets = {name: _impute(cohort, fill) for name, cohort in cohorts.items()}
    normaliser = fit_space(datasets["train"], fill, data)
    fingerprint = _fingerprint(datasets, normaliser)
    return Splits(**datasets, normaliser=normaliser, fingerprint=fingerprint)


def _build(data: DataConfig, folder: Path) -> None:
    source = read_source(data.source, getattr(data, data.source), from_sections(Settings, data))
    for cohort in source.cohorts().values():
        for step in cohort.flow:
            log.info(f"  {step.rule}: removed {step.removed:,}, left {step.left:,}")
    _, channels, steps = source.pool.values.shape
    log.info("  %d channels x %d steps: %s", channels, steps, ", ".join(source.pool.feature_names))
    for doubt in doubts(source.pool, has_ranges=data.source == "table"):
        log.warning("  %s", doubt)
    if len(names := source.pool.label_names) == 2:
        ordered = hasattr(getattr(data, data.source), "classes")
        how = f" (data.{data.source}.classes sets the order)" if ordered else ""
        log.info("  positive class: %s, negative: %s%s", names[1], names[0], how)
    cohorts = assign(source, data)
    if few := too_few(cohorts):
        log.warning("  %s", few)
    for leak in leaks(cohorts["train"]):
        log.warning("  %s", leak)
    splits = make_splits(cohorts, data)
    settings = settings_of(data)
    known = card.summary(splits, source)
    files = describe_files(source.files)
    for name, split in splits.items():
        save_dataset(folder / f"{name}.npz", split)
        log.info("  %s: %s stays (%s)", name, f"{len(split):,}", split.per_class)
    splits.normaliser.save(folder / "normaliser.json")
    write_text(folder / "card.md", card.markdown(known, settings, splits, files))
    names = [*_FILES, *_save_true_risk(folder / TRUE_RISK, cohorts)]
    digests = {name: sha256_file(folder / name) for name in names}
    record = {"format": FORMAT, "settings": settings, **known, "sha256": digests, "files": files}
    write_mapping(folder / RECORD, record)


def _save_true_risk(path: Path, cohorts: Mapping[str, Cohort]) -> list[str]:
    """Writes the risk of the stays that choose and test models; the file's name, if it is known."""
    named = {name: cohorts[name].true_risk for name in ("val_select", "test")}
    known: dict[str, Any] = {name: risk for name, risk in named.items() if risk is not None}
    if not known:
        return []
    np.savez_compressed(path, **known)
    return [path.name]


def _impute(cohort: Cohort, fill: np.ndarray) -> EHRDataset:
    values, observed = impute(cohort.values, fill)
    same: dict[str, Any] = {
        f.name: getattr(cohort, f.name) for f in dataclasses.fields(LabelledSeries)
    }
    same["values"] = values
    return EHRDataset(**same, observed=observed)


def _fingerprint(datasets: dict[str, EHRDataset], normaliser: Normaliser) -> str:
    digest = hashlib.sha256(normaliser.fingerprint().encode())
    for name in SPLIT_NAMES:
        split = datasets[name]
        digest.update(f"{name}{split.feature_names}{split.label_names}".encode())
        for field in ("values", "observed", "labels", "subject_ids", "static"):
            array = np.ascontiguousarray(getattr(split, field))
            digest.update(f"{field}{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    record = read_mapping(path, remedy=f"rebuild with {REBUILD}")
    if record.get("format") != FORMAT or not {"settings", "sha256", "fingerprint"} <= set(record):
        raise DataError(
            f"{path}: written by another version of this program (format {record.get('format')}, "
            f"expected {FORMAT}); rebuild with {REBUILD}"
        )
    return record


def _require_same_settings(folder: Path, data: DataConfig) -> None:
    record = _read_record(folder)
    built, asked = record["settings"], settings_of(data)
    # A later stage needs no raw data, so it need not say again where they were.
    usual = settings_of(DataConfig(source=data.source))
    differing = [
        key
        for key in sorted(built.keys() | asked.keys())
        if f"data.{key}" in KNOWN  # else it was a key of an earlier version
        # What an earlier version lacked had its default.
        and built.get(key, KNOWN[f"data.{key}"]) != asked.get(key, KNOWN[f"data.{key}"])
        and not (key.endswith(".folder") and asked.get(key) == usual.get(key))
    ]
    paths = {key for key, _, field in walk(data) if field.metadata.get("is_path")}
    files, moved, names = record.get("files", {}), set(), {}
    for key in (key for key in differing if key in paths and asked.get(key)):
        if not (path := Path(asked[key])).exists():
            raise MissingInputError(
                f"{path.absolute()} does not exist (data.{key} names it), and {folder} was built "
                f"from another source; correct data.{key}, or leave it as it was"
            )
        if built.get(key) and (found := moved_files(files, Path(built[key]), path)):
            names, moved = names | found, moved | {key}
    changes = [
        f"data.{key}: {built.get(key, 'absent')} -> {asked.get(key, 'absent')}"
        for key in differing
        if key not in moved
    ]
    changed = changed_files({names.get(name, name): known for name, known in files.items()})
    for how, what in (
        ("with other settings (old -> new)", changes),
        ("from other content", changed),
    ):
        if what:
            raise MismatchError(
                f"{folder} was built {how}: {'; '.join(what)}. Build it anew "
                f"({REBUILD}, then every stage from 1 on), or give this experiment its own data.dir"
            )


def _require_sha256(path: Path, expected: str) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing from a built data folder; rebuild with {REBUILD}")
    if sha256_file(path) != expected:
        raise DataError(
            f"{path} was changed after it was built (its SHA-256 differs from {RECORD}); "
            f"rebuild with {REBUILD}"
        )


if __name__ == "__main__":
    run_stage(main)
