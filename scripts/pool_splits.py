"""Several data splits as one result: mean scores and paired differences over experiments.

    python -m scripts.pool_splits out=runs/study runs/study_s0/evaluation runs/study_s1/evaluation

Each folder is what stage 4 or scripts/matrix.sh wrote (results.csv, summary.json) of an experiment
with its own data.seed. One experiment is one observation: its scores are averaged over training
seeds first, and intervals are Student's t over experiments. They cover the division into training,
guidance and selection series, the generator and the downstream model. Patients are fixed as far as
experiments share them: of a common test set wholly, of training series drawn from one pool the
more, the larger the part that is drawn (of a plain mean over five draws of 3,000 from 3,930 the
interval covers that of the population in 45 % of simulated cases, over ten draws of 800 in 74 %).
`chosen` is, in every experiment, the set that its own val_select chose. A second table has the
change of the guidance loss that stage 3 predicted beside the measured one, and how often the sign
was right where a change was predicted.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
from scripts.utility.protocols import BASELINE, REAL
from scripts.utility.summary import UNGUIDED
from scripts.utility.training_rows import GUIDE_ROWS

CHOSEN = "chosen"
ROW = ["protocol", "generator", "ratio", "model", "metric"]
NO_RATIO = -1.0  # of a training set that is no mixture

log = logging.getLogger("tardiff.pool_splits")


def main(argv: Sequence[str]) -> None:
    """Prints the tables and writes <out>.md and, of the scores, <out>.csv."""
    out, folders = _arguments(argv)
    scores = pd.concat({str(folder): read_scores(folder) for folder in folders}, names=["run"])
    summaries = [_summary(folder / "summary.json") for folder in folders]
    _require_distinct(folders, summaries)
    table = across_table(scores.reset_index())
    changes = [row for summary in summaries for row in summary["guidance_loss"]]
    tables = [table, signs_table(changes)] if changes else [table]
    frame = pd.DataFrame(table.rows, columns=pd.Index(table.columns))
    page, numbers = (out.with_name(f"{out.name}{suffix}") for suffix in (".md", ".csv"))
    write_text(page, "\n\n".join(one.as_markdown() for one in tables) + "\n")
    write_text(numbers, frame.to_csv(index=False))
    log.info("%s\n\n%s, %s", "\n\n".join(one.as_text() for one in tables), page, numbers)


def _summary(path: Path) -> dict[str, Any]:
    summary = read_mapping(path, "run the evaluation again")
    if not {"data_fingerprint", "guidance_loss"} <= summary.keys():
        raise MismatchError(f"{path}: of an earlier version; run the evaluation again")
    return summary


def _require_distinct(folders: Sequence[Path], summaries: Sequence[Mapping[str, Any]]) -> None:
    """Raises MismatchError where two folders are of one data split: each is one observation."""
    seen: dict[str, Path] = {}
    for folder, summary in zip(folders, summaries, strict=True):
        if (other := seen.setdefault(summary["data_fingerprint"], folder)) is not folder:
            raise MismatchError(
                f"{other} and {folder} are of the same data split, which would count twice; "
                "expected experiments of different data.seed"
            )


def read_scores(folder: Path) -> pd.DataFrame:
    """The columns of ROW and `value` (mean over training seeds), `chosen` among the generators
    where the experiment was tuned.

    Raises:
        MissingInputError: the folder holds no results.
    """
    for path in (folder / "results.csv", folder / "summary.json"):
        if not path.is_file():
            raise MissingInputError(
                f"{path} does not exist; expected a folder that evaluate.sh or scripts/matrix.sh "
                "wrote, such as runs/study_s0/evaluation"
            )
    table = pd.read_csv(
        folder / "results.csv", keep_default_na=False, na_values={"ratio": [""], "value": [""]}
    )
    table = table.fillna({"ratio": NO_RATIO})
    table = table[table["metric"].isin(RANKING)]
    means = table.groupby(ROW, sort=False)["value"].mean().reset_index()
    tuned = folder.parent / "tuning" / "scale.json"
    if not tuned.is_file():
        return means
    chosen = read_mapping(tuned)["chosen"]["set"]
    return pd.concat([means, means[means["generator"] == chosen].assign(generator=CHOSEN)])


def across_table(scores: pd.DataFrame) -> Table:
    """One row per protocol, set and metric, with differences to unguided, to real-only and, where
    that baseline is there, to real + guidance rows.

    Raises:
        MismatchError: the experiments do not hold the same rows.
    """
    wide = scores.pivot_table(index=ROW, columns="run", values="value", sort=False)
    incomplete = wide[wide.isna().any(axis=1)]
    if len(incomplete):
        raise MismatchError(
            f"not every experiment holds {incomplete.index[0]}; evaluate all of them with the same "
            "settings"
        )
    values = dict(zip(wide.index, wide.to_numpy(), strict=True))
    references = {UNGUIDED: UNGUIDED, REAL: "real only"}
    if any(key[1] == GUIDE_ROWS for key in values):
        references[GUIDE_ROWS] = GUIDE_ROWS
    places = list(TRAINED_ON)
    rows = []
    for key in sorted(values, key=lambda key: (*key[3:], places.index(key[0]), key[2])):
        protocol, generator, ratio, model, metric = key
        own, trained_on = values[key], TRAINED_ON[protocol].format(ratio=max(ratio, 0.0))
        others = {
            UNGUIDED: values.get((protocol, UNGUIDED, ratio, model, metric)),
            REAL: values.get(("TRTR", REAL, 0.0, model, metric)),
            GUIDE_ROWS: values.get((BASELINE, GUIDE_ROWS, NO_RATIO, model, metric)),
        }
        if protocol == "TRTS":  # its rows are the set's, not the test stays
            others[GUIDE_ROWS] = None
        differences = [
            "-" if generator == name or (other := others[name]) is None else _text(own - other, "+")
            for name in references
        ]
        rows.append([trained_on, generator, model, METRICS[metric], _text(own), *differences])
    columns = ["trained on", "set", "model", "metric", "mean"]
    columns += [f"minus {title}" for title in references.values()]
    return Table(
        f"Over {wide.shape[1]} data splits, 95 % t intervals (*: leaves out 0)", columns, rows
    )


def signs_table(changes: Sequence[Mapping[str, Any]]) -> Table:
    """The change of the guidance loss, predicted and measured, per set and model.

    Args:
        changes: as `loss_change.changes` makes them, of all experiments. Those that predict no
            change (a strength of 0) have no sign and are left out.
    """
    asked: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in changes:
        if row["predicted"]:
            pairs = asked.setdefault((row["set"], row["model"]), [])
            pairs.append((row["predicted"], row["measured"]))
    rows = []
    for key, pairs in sorted(asked.items()):
        predicted, measured = np.array(pairs).T
        right = int((np.sign(predicted) == np.sign(measured)).sum())
        rows.append([*key, _text(predicted, "+"), _text(measured, "+"), f"{right} of {len(pairs)}"])
    columns = ["set", "model", "predicted change", "measured change", "sign right"]
    return Table("Guidance loss of models trained on guided sets, minus unguided", columns, rows)


def t_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean of one number per experiment and its 95 % t interval, NaN for one experiment."""
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return mean, np.nan, np.nan
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def _text(values: np.ndarray, sign: str = "") -> str:
    """Such as 0.771 [0.760, 0.782], of differences with a star where the interval leaves out 0,
    which rounding can hide; without interval for one experiment."""
    mean, low, high = t_interval(values)
    if len(values) == 1:
        return number(mean, sign)
    clear = sign and not low <= 0 <= high
    return interval_text(mean, low, high, sign) + ("*" if clear else "")


def _arguments(argv: Sequence[str]) -> tuple[Path, list[Path]]:
    outs = [argument.removeprefix("out=") for argument in argv if argument.startswith("out=")]
    folders = [Path(argument) for argument in argv if not argument.startswith("out=")]
    if len(outs) != 1 or not folders:
        raise ConfigError(
            f"arguments {list(argv)}: expected out=<path without suffix> and the results folder of "
            "at least one experiment"
        )
    return Path(outs[0]), folders


if __name__ == "__main__":
    log_to_stdout()
    answer_help(sys.argv[1:])
    sys.exit(guarded(lambda: main(sys.argv[1:])))
