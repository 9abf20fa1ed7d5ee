"""score_sets: the fidelity and privacy of every synthetic set, each computed once and kept on disk.

Like a cell of the utility protocols, a report is kept in a file named by a hash of everything that
decides it: an interrupted evaluation goes on where it stopped, and a changed set is judged anew.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from configs.runtime.atomic_files import atomic_path
from configs.runtime.errors import DataError
from data_preprocess.dataset import EHRDataset, concatenate
from data_preprocess.splits import Splits
from data_preprocess.storage.safe_npy import UNREADABLE, read_npz
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.fidelity.suite import fidelity_scores
from scripts.quality.privacy.suite import privacy_scores

FIDELITY, PRIVACY = "fidelity", "privacy"
KINDS = (FIDELITY, PRIVACY)

# Raise it when a change of the suites changes what a report holds: older files are then not read.
CACHE_VERSION = 1

SetScores = dict[str, dict[str, MetricReport]]  # kind -> set -> report

logger = logging.getLogger(__name__)


def score_sets(
    splits: Splits,
    sets: Mapping[str, EHRDataset],
    kinds: Sequence[str],
    *,
    seed: int,
    cache: Path,
) -> SetScores:
    """The report of every set for every kind of `kinds`, computed now or read from `cache`.

    Fidelity compares with train and test. For privacy, all stays that the generator could learn
    from (train, and val_guide, which guides) stand against those of test.

    Args:
        seed: of the subsamples and models of the metrics.

    Raises:
        DataError: a set cannot be judged; the message names it.
    """
    paths = {
        (kind, name): cache / f"{_key(kind, splits, dataset, seed)}.npz"
        for kind in kinds
        for name, dataset in sets.items()
    }
    missing = {pair: path for pair, path in paths.items() if read_report(path) is None}
    if len(missing) < len(paths):
        done = len(paths) - len(missing)
        logger.info("%d of %d fidelity and privacy reports were done before", done, len(paths))
    if missing:
        with tqdm(missing.items(), desc="fidelity, privacy", unit="report", disable=None) as bar:
            for (kind, name), path in bar:
                bar.set_postfix_str(f"{kind} of {name}")
                write_report(path, _score(kind, name, splits, sets[name], seed))
    found: SetScores = {kind: {} for kind in kinds}
    for (kind, name), path in paths.items():
        report = read_report(path)
        assert report is not None, f"{path} was written but is gone"
        found[kind][name] = report
    return found


def write_report(path: Path, report: MetricReport) -> None:
    """Writes values, arrays and flags as one .npz without pickles."""
    text = json.dumps({"values": report.values, "flags": report.flags})
    arrays = {f"array/{name}": array for name, array in report.arrays.items()}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, content=np.array(text), **arrays)  # pyright: ignore[reportArgumentType]


def read_report(path: Path) -> MetricReport | None:
    """What `write_report` wrote; None if there is nothing, or a damaged file, which is said."""
    if not path.is_file():
        return None
    try:
        found = read_npz(path)
        content = json.loads(str(found.pop("content")))
        arrays = {name.removeprefix("array/"): array for name, array in found.items()}
        return MetricReport(values=content["values"], arrays=arrays, flags=content["flags"])
    except UNREADABLE as error:
        logger.warning("%s is damaged (%s); it is computed again", path, error)
        return None


def fingerprint(dataset: EHRDataset) -> str:
    """SHA-256 of all that the metrics read of a set."""
    names = [dataset.feature_names, dataset.label_names, dataset.static_names]
    digest = hashlib.sha256(json.dumps([names, dataset.values.shape]).encode())
    for array in (dataset.values, dataset.observed, dataset.labels, dataset.static):
        digest.update(str(array.dtype).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _key(kind: str, splits: Splits, dataset: EHRDataset, seed: int) -> str:
    parts = [CACHE_VERSION, kind, splits.fingerprint, fingerprint(dataset), seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _score(kind: str, name: str, splits: Splits, dataset: EHRDataset, seed: int) -> MetricReport:
    normaliser = splits.normaliser
    try:
        if kind == FIDELITY:
            return fidelity_scores(
                splits.train, splits.test, dataset, normaliser=normaliser, seed=seed
            )
        known = concatenate(splits.train, splits.val_guide)
        return privacy_scores(known, splits.test, dataset, normaliser=normaliser, seed=seed)
    except DataError as error:
        raise DataError(
            f"{kind} of set {name!r}: {error}; evaluation.{kind}=false leaves it out"
        ) from error
