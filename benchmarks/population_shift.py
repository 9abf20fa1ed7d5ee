"""Between which populations would guidance rows help? Real series alone, no test row, minutes.

    python -m benchmarks.population_shift CONFIG --by COVARIATE [--models gbdt,rocket] [key=value]

For every ordered pair of values of a static covariate (ICU type, unit): downstream models trained
on the series of one value, and on these and some of the other, are scored on the rest of the other.
Guidance can bring what the second knows and the first does not. Rows are those of train, val_guide
and val_select, the first of each patient; three random partitions, each used both ways.
"""

import argparse
import itertools
import sys

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from classifier.training import FitRecipe
from configs import from_sections, load_config
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.card import markdown_table
from data_preprocess.dataset import concatenate, index_of
from data_preprocess.model_space.encoding import encode
from scripts.utility.downstream import Downstream

MOST = {"train": 1500, "guide": 600, "select": 400}
SHARES = (0.4, 0.6)  # guidance rows up to the first, selection rows up to the second
PARTITIONS = 3


def gains(
    downstream: Downstream,
    model: str,
    x: np.ndarray,
    y: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
) -> np.ndarray:
    """(partition, 2) AUROC on left-out target rows: trained on the source, and on guidance rows
    of the target too.

    Args:
        x, y: model-space series and labels.
        source, target: row numbers.
    """
    rng, found = np.random.default_rng(0), []
    source = rng.permutation(source)[: MOST["train"]]
    for seed in range(PARTITIONS):
        order = rng.permutation(target)
        first, second = (int(share * len(order)) for share in SHARES)
        guide, select, rest = order[:first], order[first:second], order[second:]
        for known, left in ((guide, rest), (rest, guide)):
            both = np.concatenate([source, known[: MOST["guide"]]])
            stop = select[: MOST["select"]]
            scores = []
            for train in (source, both):
                trained = downstream.fit(model, (x[train], y[train]), (x[stop], y[stop]), seed=seed)
                scores.append(roc_auc_score(y[left], trained(x[left])[:, 1]))
            found.append(scores)
    return np.array(found)


def main(arguments: list[str]) -> None:
    """Prints one row per ordered pair."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", required=True, help="a static covariate, named without its unit")
    parser.add_argument("--models", default="gbdt,rocket", type=lambda text: text.split(","))
    own, rest = parser.parse_known_args(arguments)
    torch.set_num_threads(1)
    config = load_config(rest)
    ensure_built(config.data)
    splits = load_splits(config.data)
    stays = concatenate(concatenate(splits.train, splits.val_guide), splits.val_select)
    # One stay a patient: nobody is trained on and scored.
    stays = stays.take(np.sort(np.unique(stays.subject_ids, return_index=True)[1]))
    x = encode(splits.normaliser, stays).numpy()
    values = stays.static[:, index_of(own.by, stays.static_names, "--by")]
    downstream = Downstream(
        model=config.classifier.model,
        recipe=from_sections(FitRecipe, config.classifier),
        num_classes=stays.num_classes,
        normaliser=splits.normaliser,
    )
    table = []
    for one, other in itertools.permutations(np.unique(values[np.isfinite(values)]), 2):
        source, target = np.flatnonzero(values == one), np.flatnonzero(values == other)
        cells = [f"{one:g} -> {other:g}", f"{len(source):,}", f"{len(target):,}"]
        for model in own.models:
            found = gains(downstream, model, x, stays.labels, source, target)
            gain = found[:, 1] - found[:, 0]
            cells += [
                f"{found[:, 0].mean():.3f}",
                f"{gain.mean():+.3f} (s.d. {gain.std(ddof=1):.3f})",
            ]
        table.append(cells)
    header = [own.by, "stays", "stays of the other"]
    for model in own.models:
        header += [model, "+ guidance rows"]
    print(markdown_table(header, table))


if __name__ == "__main__":
    main(sys.argv[1:])
