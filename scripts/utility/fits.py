"""run_cells: fits every cell once, in parallel processes, and keeps what is done on disk.

The unit of work is a fit: cells whose model is trained on the same rows in the same way (TRTR and
the TRTS of every set, or TSRTR at ratio 0) share it. Each cell's probabilities are kept in a file
named by a hash of everything that decides them, so an interrupted run continues where it stopped
and a changed array, recipe or seed is fitted anew.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import joblib
import numpy as np
from tqdm import tqdm

from classifier.metrics import best_f1_threshold
from configs.runtime.atomic_files import atomic_path
from configs.runtime.device import one_thread
from configs.runtime.errors import UserError
from data_preprocess.storage.safe_npy import UNREADABLE, read_npz
from scripts.utility.downstream import LabelledArrays, Predictor
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import (
    BASELINE,
    Cell,
    EvaluationData,
    other_rows,
    scored_rows,
    synthetic_source,
    training_rows,
)

# Raise it when a change of the code changes what a cell holds: older files are then not read.
CACHE_VERSION = 2

logger = logging.getLogger(__name__)


@runtime_checkable
class Fitter(Protocol):
    """What run_cells asks of the downstream models (scripts.utility.downstream.Downstream)."""

    def describe(self, name: str) -> dict[str, Any]:
        """All that decides how `name` is fitted, as JSON-able types."""
        ...

    def fit(
        self,
        name: str,
        train: LabelledArrays,
        select: LabelledArrays,
        *,
        seed: int,
        effort: float = 1.0,
        class_weight: str | None = None,
    ) -> Predictor:
        """A fitted model as series -> class probabilities; `effort` scales its epochs, and
        `class_weight` wins over the recipe's."""
        ...


def run_cells(
    cells: Sequence[Cell],
    data: EvaluationData,
    *,
    fitter: Fitter,
    cache: Path,
    workers: int = 0,
    on_select: bool = False,
    share: tuple[int, int] = (0, 1),
) -> dict[Cell, Predictions]:
    """The predictions of every cell, fitted now or read from `cache`.

    Args:
        on_select: predictions for val_select instead of the rows that judge the cell: for choosing
            between sets without a look at the test rows.
        workers: parallel processes, each with one thread; 0 means one per core. One works in
            this process. The result does not depend on it.
        share: (i, n): fit only every n-th model from i on, others elsewhere; the predictions are
            then none, until a run without a share puts together what all have fitted.

    Raises:
        UserError: a cell cannot be fitted because of its input; the message names the cell.
        RuntimeError: a cell failed for another reason; the message names the cell.
    """
    fits = _missing(cells, data, fitter, cache, share)
    missing = sum(len(group) for group in fits.values())
    if missing < len(cells) and share[1] == 1:
        logger.info("%d of %d cells were done before", len(cells) - missing, len(cells))
    workers = min(workers or joblib.cpu_count(), max(len(fits), 1))
    # Unordered, so that the bar moves when any worker is done; memory-mapped copies on write,
    # so that every process shares one copy of the series.
    pool = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", mmap_mode="c")
    jobs = (joblib.delayed(_run_fit)(group, data, fitter, cache) for group in fits.values())
    with tqdm(total=len(cells), initial=len(cells) - missing, unit="cell", desc="evaluate") as bar:
        for finished in pool(jobs):
            bar.update(finished)
    if share[1] > 1:
        return {}
    return {cell: _require(cell, data, fitter, cache, on_select) for cell in cells}


def _missing(
    cells: Sequence[Cell],
    data: EvaluationData,
    fitter: Fitter,
    cache: Path,
    share: tuple[int, int],
) -> dict[str, list[Cell]]:
    """The cells of this share without a file, by fit.

    Fits are numbered before the files are looked at: others may be writing theirs just now.
    """
    numbers: dict[str, int] = {}
    fits: dict[str, list[Cell]] = {}
    for cell in cells:
        key = _fit_key(cell, data, fitter)
        number = numbers.setdefault(key, len(numbers))
        if number % share[1] == share[0] and _read(cell, data, fitter, cache) is None:
            fits.setdefault(key, []).append(cell)
    return fits


def cell_path(cell: Cell, data: EvaluationData, fitter: Fitter, cache: Path) -> Path:
    """The cache file of `cell`, named by the content of its fit and of the rows that judge it."""
    scored = scored_rows(cell, data).fingerprint
    return cache / f"{_digest([_fit_key(cell, data, fitter), scored])}.npz"


def _fit_key(cell: Cell, data: EvaluationData, fitter: Fitter) -> str:
    source, other = synthetic_source(cell, data), other_rows(cell, data)
    return _digest(
        {
            "version": CACHE_VERSION,
            "real": None if cell.protocol == "TSTR" else data.train.fingerprint,
            "synthetic": None if source is None else source.fingerprint,
            "ratio": None if source is None else cell.ratio,
            "select": data.select.fingerprint,
            "minority": data.minority,
            "model": fitter.describe(cell.model),
            "seed": cell.seed,
            "effort": cell.effort,
            "baseline": cell.generator if cell.protocol == BASELINE else None,
            "other": None if other is None else other.fingerprint,
        }
    )


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _run_fit(cells: list[Cell], data: EvaluationData, fitter: Fitter, cache: Path) -> int:
    """Fits the model that `cells` share, writes the file of each; the number of cells."""
    first = cells[0]
    try:
        with one_thread():
            x, y = training_rows(first, data)
            select = (data.select.x, data.select.y)
            predict = fitter.fit(
                first.model,
                (x, y),
                select,
                seed=first.seed,
                effort=first.effort,
                class_weight=first.class_weight,
            )
            selection = predict(data.select.x)
            for cell in cells:
                path = cell_path(cell, data, fitter, cache)
                _write(path, cell, predict(scored_rows(cell, data).x), selection, data)
    except UserError as error:
        raise type(error)(f"evaluation cell {first}: {error}") from error
    except MemoryError as error:  # the entry tells what to do about it
        raise MemoryError(f"evaluation cell {first}: {error}") from error
    except Exception as error:
        message = f"evaluation cell {first} failed: {type(error).__name__}: {error}"
        raise RuntimeError(message) from error
    return len(cells)


def _threshold(probabilities: np.ndarray, data: EvaluationData) -> float:
    """The cut on the minority's probability with the best F1 on val_select (binary tasks)."""
    if data.num_classes > 2:
        return float("nan")
    minority = (data.select.y == data.minority).astype(np.int64)
    return best_f1_threshold(probabilities[:, data.minority], minority)[0]


def _write(
    path: Path, cell: Cell, scored: np.ndarray, selection: np.ndarray, data: EvaluationData
) -> None:
    threshold = _threshold(selection, data)
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            probabilities=scored,
            select_probabilities=selection,
            threshold=threshold,
            cell=str(cell),
        )


def _read(
    cell: Cell, data: EvaluationData, fitter: Fitter, cache: Path, on_select: bool = False
) -> Predictions | None:
    path = cell_path(cell, data, fitter, cache)
    if not path.is_file():
        return None
    name = "select_probabilities" if on_select else "probabilities"
    labels = data.select.y if on_select else scored_rows(cell, data).y
    try:
        archive = read_npz(path)
        probabilities, threshold = archive[name], float(archive["threshold"])
        if probabilities.shape != (len(labels), data.num_classes):
            raise ValueError(f"probabilities of shape {probabilities.shape}")
    except UNREADABLE as error:
        logger.warning("%s is damaged (%s); the cell is fitted again", path, error)
        return None
    return Predictions(
        probabilities=probabilities,
        labels=labels,
        minority=data.minority,
        threshold=threshold,
    )


def _require(
    cell: Cell, data: EvaluationData, fitter: Fitter, cache: Path, on_select: bool
) -> Predictions:
    predictions = _read(cell, data, fitter, cache, on_select)
    assert predictions is not None, f"cell {cell} was fitted but its file is gone"
    return predictions
