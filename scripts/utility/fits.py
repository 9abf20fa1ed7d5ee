"""run_fits: trains every downstream model once, in parallel processes, and keeps its predictions.

Fits whose model is trained on the same rows in the same way (TRTR and the TRTS of every set, or
TSRTR at ratio 0) share one training. The predictions of each fit are kept on disk under all that
decides them, so an interrupted run goes on where it stopped, and a changed array, recipe, model
source or seed is trained anew.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classifier.metrics import best_f1_threshold
from configs.runtime.errors import UserError
from configs.runtime.processes import Processes
from configs.runtime.progress import Progress
from data_preprocess.storage.content_cache import ContentCache, Entry, array_fingerprint
from scripts.utility.downstream import Downstream
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import UPPER, EvaluationData, Fit, scored_rows
from scripts.utility.training_rows import training_rows

# Whose source decides a fit; the source of a user's own model class is in `Downstream.describe`.
CODE = (
    "classifier",
    "scripts.quality.common",
    *(f"scripts.utility.{m}" for m in ("downstream", "feature_models", "fits", "training_rows")),
    *(f"scripts.utility.{m}" for m in ("metrics", "protocols")),
)

SIMULATOR = "simulator"  # in place of a set in the row of the true risk

logger = logging.getLogger(__name__)


def run_fits(
    fits: Sequence[Fit],
    data: EvaluationData,
    *,
    fitter: Downstream,
    cache: Path,
    processes: Processes | None = None,
    on_select: bool = False,
) -> dict[Fit, Predictions]:
    """The predictions of every fit, made now or read from `cache`.

    Args:
        processes: where the trainings run; None: in this process. The result does not depend on
            it. On a cluster every worker must see the folder `cache`.
        on_select: predictions for val_select instead of the rows that score the fit: for choosing
            between sets without a look at the test rows.

    Raises:
        ConfigError, DataError: there is no downstream model of a name, or a set is too small for a
            ratio; before the first is fitted.
        UserError: a fit fails because of its input; the message names the fit.
        RuntimeError: a fit failed for another reason; the message names the fit.
    """
    fitter.check({fit.model for fit in fits}, data.train.x.shape[2])
    store = ContentCache(cache, CODE)
    keys = _keys(fits, data, fitter)
    shared: dict[str, list[Fit]] = {}  # fits without a result, by the training that they share
    for fit in fits:
        if store.read(keys[fit]) is None:
            shared.setdefault(str(keys[fit] | {"scored": None}), []).append(fit)
    done = len(fits) - sum(map(len, shared.values()))
    # What is read for val_select was mostly made a moment ago, for the rows that score it.
    if done and not (on_select and done == len(fits)):
        logger.info("%d of %d fits were done before", done, len(fits))
    work = _Work(data, fitter, store, keys)
    with Progress("downstream models", len(shared), "trainings") as bar:
        for _ in (processes or Processes()).run(work, list(shared.values())):
            bar.update(1)
    return {fit: work.read(fit, on_select) for fit in fits}


def upper_bound(
    true_risk: Mapping[str, np.ndarray], data: EvaluationData, models: Sequence[str]
) -> dict[Fit, Predictions]:
    """The risk that a simulator drew the outcomes from, as predictions beside those of `models`.

    No classifier can expect a higher AUROC or AUPRC or a lower Brier score: the risk knows the
    hidden state of a simulated patient, a model the measured series only.

    Args:
        true_risk: P(label = k), (n, k), of the stays of "val_select" and "test", in their order;
            empty where it is not known, as of patients.
    """
    if not true_risk:
        return {}
    cut = _threshold(true_risk["val_select"], data)
    found = Predictions(true_risk["test"], data.test.y, data.minority, cut)
    return {Fit(UPPER, SIMULATOR, None, model, 0): found for model in models}


def _keys(
    fits: Sequence[Fit], data: EvaluationData, fitter: Downstream
) -> dict[Fit, dict[str, Any]]:
    """All that decides the predictions of every fit; "scored" takes no part in the training."""
    rows: dict[tuple[object, ...], str] = {}
    models = {fit.model: fitter.describe(fit.model) for fit in fits}
    keys = {}
    for fit in fits:
        drawn = (fit.protocol, fit.generator, fit.ratio, fit.seed)
        if drawn not in rows:
            rows[drawn] = array_fingerprint(*training_rows(fit, data))
        keys[fit] = {
            "rows": rows[drawn],
            "select": data.select.fingerprint,
            "scored": scored_rows(fit, data).fingerprint,
            "minority": data.minority,
            "model": models[fit.model],
            "seed": fit.seed,
            "class_weight": fit.class_weight,
        }
    return keys


@dataclass(frozen=True)
class _Work:
    """Trains, writes and reads fits; travels to the worker processes as it is."""

    data: EvaluationData
    fitter: Downstream
    cache: ContentCache
    keys: Mapping[Fit, Mapping[str, Any]]

    def __sizeof__(self) -> int:
        """Bytes of the series: dask sends what it knows to be large once to every worker."""
        data = self.data
        named = (data.train, data.guide, data.select, data.test, *data.synthetic.values())
        return sum(series.x.nbytes for series in named)

    def __call__(self, fits: list[Fit]) -> None:
        """Trains the model that `fits` share and writes the predictions of each."""
        first, data = fits[0], self.data
        try:
            predict = self.fitter.fit(
                first.model,
                training_rows(first, data),
                (data.select.x, data.select.y),
                seed=first.seed,
                class_weight=first.class_weight,
            )
            select = predict(data.select.x)
            for fit in fits:
                scored = predict(scored_rows(fit, data).x)
                facts = {"fit": str(fit), "threshold": _threshold(select, data)}
                self.cache.write(self.keys[fit], Entry({"scored": scored, "select": select}, facts))
        except UserError as error:
            raise type(error)(f"fit {first}: {error}") from error
        except MemoryError as error:  # the entry tells what to do about it
            raise MemoryError(f"fit {first}: {error}") from error
        except Exception as error:
            raise RuntimeError(f"fit {first} failed: {type(error).__name__}: {error}") from error

    def read(self, fit: Fit, on_select: bool) -> Predictions:
        """What is kept of a fit that was made."""
        entry = self.cache.read(self.keys[fit])
        if entry is None:
            raise UserError(
                f"fit {fit} was made, but {self.cache.folder} does not hold it; on a cluster "
                "every worker must see this folder"
            )
        rows = self.data.select if on_select else scored_rows(fit, self.data)
        probabilities = entry.arrays["select" if on_select else "scored"]
        return Predictions(probabilities, rows.y, self.data.minority, entry.facts["threshold"])


def _threshold(probabilities: np.ndarray, data: EvaluationData) -> float | None:
    """The cut on the minority's probability with the best F1 on val_select; None for more than two
    classes."""
    if data.num_classes > 2:
        return None
    minority = (data.select.y == data.minority).astype(np.int64)
    return float(best_f1_threshold(probabilities[:, data.minority], minority)[0])
