"""Several data splits as one result: mean scores and paired differences over experiments.

    python -m scripts.pool_splits out=runs/study runs/study_s0 runs/study_s1 ...

Each folder is an experiment that scripts/matrix.sh ran with its own data.seed. One experiment is
one observation: its scores are averaged over training seeds first, and intervals are Student's t
over experiments. They cover the division into training, guidance and selection series, the
generator and the downstream model. Patients are fixed as far as experiments share them: of a common
test set wholly, of training series drawn from one pool the more, the larger the part that is drawn
(of a plain mean over five draws of 3,000 from 3,930 the interval covers that of the population in
45 % of simulated cases, over ten draws of 800 in 74 %). `chosen` is, in every experiment, the set
that its own val_select chose.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from configs.cli import answer_help, guarded, log_to_stdout
from configs.run_record import read_mapping
from configs.runtime.atomic_files import write_text
from configs.runtime.errors import ConfigError, MismatchError, MissingInputError
from scripts.quality.common.metric_report import interval_text, number
from scripts.results.score_tables import TRAINED_ON
from scripts.results.table import Table
from scripts.utility.bootstrap import CONFIDENCE
from scripts.utility.metrics import METRICS, RANKING
from scripts.utility.protocols import REAL
from scripts.utility.summary import UNGUIDED

CHOSEN = "chosen"
ROW = ["protocol", "generator", "ratio", "model", "metric"]
NO_RATIO = -1.0  # of a training set that is no mixture

log = logging.getLogger("tardiff.pool_splits")


def main(argv: Sequence[str]) -> None:
    """Prints the table and writes <out>.md and <out>.csv."""
    out, folders = _arguments(argv)
    _require_distinct(folders)
    scores = pd.concat({str(folder): read_scores(folder) for folder in folders}, names=["run"])
    table = across_table(scores.reset_index())
    frame = pd.DataFrame(table.rows, columns=pd.Index(table.columns))
    page, numbers = (out.with_name(f"{out.name}{suffix}") for suffix in (".md", ".csv"))
    write_text(page, table.as_markdown() + "\n")
    write_text(numbers, frame.to_csv(index=False))
    log.info("%s\n\n%s, %s", table.as_text(), page, numbers)


def _require_distinct(folders: Sequence[Path]) -> None:
    """Raises MismatchError where two folders are of one data split: each is one observation."""
    seen: dict[str, Path] = {}
    for folder in folders:
        summary = folder / "matrix" / "summary.json"
        known = read_mapping(summary).get("data_fingerprint") if summary.is_file() else None
        split = known or folder.resolve()
        if (other := seen.setdefault(str(split), folder)) is not folder:
            raise MismatchError(
                f"{other} and {folder} are of the same data split, which would count twice; "
                "expected experiments of different data.seed"
            )


def read_scores(folder: Path) -> pd.DataFrame:
    """The columns of ROW and `value` (mean over training seeds), `chosen` among the generators
    where the experiment was tuned.

    Raises:
        MissingInputError: scripts/matrix.sh has not run.
    """
    path = folder / "matrix" / "results.csv"
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist; run bash scripts/matrix.sh for it first")
    table = pd.read_csv(path, keep_default_na=False, na_values={"ratio": [""], "value": [""]})
    table = table.fillna({"ratio": NO_RATIO})
    table = table[table["metric"].isin(RANKING)]
    means = table.groupby(ROW, sort=False)["value"].mean().reset_index()
    tuned = folder / "tuning" / "scale.json"
    if not tuned.is_file():
        return means
    chosen = read_mapping(tuned)["chosen"]["set"]
    return pd.concat([means, means[means["generator"] == chosen].assign(generator=CHOSEN)])


def across_table(scores: pd.DataFrame) -> Table:
    """One row per protocol, set and metric, with differences to unguided and to real-only.

    Raises:
        MismatchError: the experiments do not hold the same rows.
    """
    wide = scores.pivot_table(index=ROW, columns="run", values="value", sort=False)
    incomplete = wide[wide.isna().any(axis=1)]
    if len(incomplete):
        raise MismatchError(
            f"not every experiment holds {incomplete.index[0]}; run scripts/matrix.sh with the "
            "same settings for all of them"
        )
    values = dict(zip(wide.index, wide.to_numpy(), strict=True))
    places = list(TRAINED_ON)
    rows = []
    for key in sorted(values, key=lambda key: (*key[3:], places.index(key[0]), key[2])):
        protocol, generator, ratio, model, metric = key
        own, trained_on = values[key], TRAINED_ON[protocol].format(ratio=max(ratio, 0.0))
        unguided = values.get((protocol, UNGUIDED, ratio, model, metric))
        differences = [
            "-" if other is None or generator == name else _text(own - other, "+")
            for name, other in (
                (UNGUIDED, unguided),
                (REAL, values["TRTR", REAL, 0.0, model, metric]),
            )
        ]
        rows.append([trained_on, generator, model, METRICS[metric], _text(own), *differences])
    columns = ["trained on", "set", "model", "metric", "mean"]
    columns += [f"minus {UNGUIDED}", "minus real only"]
    return Table(f"Over {wide.shape[1]} data splits, 95 % t intervals", columns, rows)


def t_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean of one number per experiment and its 95 % t interval, NaN for one experiment."""
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return mean, np.nan, np.nan
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def _text(values: np.ndarray, sign: str = "") -> str:
    """Such as 0.771 [0.760, 0.782]; without interval for one experiment."""
    mean, low, high = t_interval(values)
    return interval_text(mean, low, high, sign) if len(values) > 1 else number(mean, sign)


def _arguments(argv: Sequence[str]) -> tuple[Path, list[Path]]:
    outs = [argument.removeprefix("out=") for argument in argv if argument.startswith("out=")]
    folders = [Path(argument) for argument in argv if not argument.startswith("out=")]
    if len(outs) != 1 or not folders:
        raise ConfigError(
            f"arguments {list(argv)}: expected out=<path without suffix> and the run folders of "
            "at least one experiment"
        )
    return Path(outs[0]), folders


if __name__ == "__main__":
    log_to_stdout()
    answer_help(sys.argv[1:])
    sys.exit(guarded(lambda: main(sys.argv[1:])))
