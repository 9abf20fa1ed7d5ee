"""Several data splits as one result: mean scores and paired differences over experiments.

    python -m scripts.pool_splits out=runs/study runs/study_s0 runs/study_s1 ...

Each folder is an experiment that scripts/matrix.sh ran with its own data.seed. One experiment is
one observation: its scores are averaged over training seeds first, and intervals are Student's t
over experiments. They cover the draw of training, guidance and selection series, of the generator
and of the downstream model; a test set that all experiments share is fixed. `chosen` is, in every
experiment, the set that its own val_select chose.
"""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from configs.runtime.atomic_files import write_text
from configs.runtime.errors import ConfigError, MismatchError, MissingInputError, UserError
from scripts.results.tables import TITLES, TRAINED_ON, WITH_INTERVAL, Table
from scripts.utility.protocols import REAL
from scripts.utility.summary import UNGUIDED

CHOSEN = "chosen"
ROW = ["protocol", "generator", "ratio", "model"]

log = logging.getLogger("tardiff.pool_splits")


@dataclass(frozen=True)
class Spread:
    """Mean over experiments with its 95 % t interval; the interval is NaN for one experiment."""

    mean: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of one number per experiment."""
        n, mean = len(values), float(np.mean(values))
        half = float("nan")
        if n > 1:
            half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5)
        return cls(mean, mean - half, mean + half, n)

    def text(self, sign: str = "") -> str:
        """Such as 0.771 [0.760, 0.782]; without interval for one experiment."""
        if self.count == 1:
            return f"{self.mean:{sign}.3f}"
        return f"{self.mean:{sign}.3f} [{self.low:{sign}.3f}, {self.high:{sign}.3f}]"


def main(argv: Sequence[str]) -> None:
    """Prints the table and writes <out>.md and <out>.csv."""
    out, folders = _arguments(argv)
    scores = pd.concat({folder.name: read_scores(folder) for folder in folders}, names=["run"])
    table = across_table(scores.reset_index())
    frame = pd.DataFrame(table.rows, columns=pd.Index(table.columns))
    write_text(out.with_suffix(".md"), table.as_markdown() + "\n")
    write_text(out.with_suffix(".csv"), frame.to_csv(index=False))
    log.info("%s\n\n%s, %s", table.as_text(), out.with_suffix(".md"), out.with_suffix(".csv"))


def read_scores(folder: Path) -> pd.DataFrame:
    """Rows protocol, generator, ratio, model, metric, value (mean over training seeds), `chosen`
    among them where the experiment was tuned.

    Raises:
        MissingInputError: scripts/matrix.sh has not run.
    """
    path = folder / "matrix" / "results.csv"
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist; run bash scripts/matrix.sh for it first")
    table = pd.read_csv(path)
    table = table[table["metric"].isin(WITH_INTERVAL)]
    means = table.groupby([*ROW, "metric"], dropna=False, sort=False)["value"].mean().reset_index()
    tuned = folder / "tuning" / "scale.json"
    if not tuned.is_file():
        return means
    chosen = json.loads(tuned.read_text(encoding="utf-8"))["chosen"]["set"]
    return pd.concat([means, means[means["generator"] == chosen].assign(generator=CHOSEN)])


def across_table(scores: pd.DataFrame) -> Table:
    """One row per protocol, set and metric, with differences to unguided and to real-only.

    Raises:
        MismatchError: the experiments do not hold the same rows.
    """
    runs = list(dict.fromkeys(scores["run"]))
    wide = scores.pivot_table(
        index=[*ROW, "metric"], columns="run", values="value", dropna=False, sort=False
    ).dropna(how="all")
    incomplete = wide[wide.isna().any(axis=1)]
    if len(incomplete):
        raise MismatchError(
            f"not every experiment holds {incomplete.index[0]}; run scripts/matrix.sh with the "
            "same settings for all of them"
        )
    values = {
        tuple(key): np.asarray(row, dtype=float)
        for key, row in zip(wide.index, wide[runs].to_numpy(), strict=True)
    }
    rows = [_row(key, values) for key in sorted(values, key=_order)]
    columns = ["trained on", "set", "model", "metric", "mean"]
    columns += [f"minus {UNGUIDED}", "minus real only"]
    return Table(f"Over {len(runs)} data splits, 95 % t intervals", columns, rows)


def _row(key: tuple, values: Mapping[tuple, np.ndarray]) -> list[str]:
    protocol, generator, ratio, model, metric = key
    own = values[key]
    real = next(
        v for k, v in values.items() if k[:2] == ("TRTR", REAL) and k[3:] == (model, metric)
    )
    unguided = next((v for k, v in values.items() if _is_unguided(k, key)), None)
    trained_on = TRAINED_ON[protocol].format(ratio=0.0 if np.isnan(ratio) else ratio)
    return [
        trained_on,
        generator,
        model,
        TITLES[metric],
        Spread.of(list(own)).text(),
        "-" if unguided is None or generator == UNGUIDED else _difference(own, unguided),
        "-" if generator == REAL else _difference(own, real),
    ]


def _difference(own: np.ndarray, reference: np.ndarray) -> str:
    return Spread.of(list(own - reference)).text("+")


def _is_unguided(candidate: tuple, key: tuple) -> bool:
    same_ratio = candidate[2] == key[2] or (np.isnan(candidate[2]) and np.isnan(key[2]))
    same = candidate[0] == key[0] and candidate[3:] == key[3:] and same_ratio
    return same and candidate[1] == UNGUIDED


def _order(key: tuple) -> tuple:
    protocol, _, ratio, model, metric = key
    place = list(TRAINED_ON).index(protocol)
    return model, metric, place, -1.0 if np.isnan(ratio) else ratio


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
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
