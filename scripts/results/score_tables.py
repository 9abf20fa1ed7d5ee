"""Tables of the scores of downstream models and of their differences."""

import itertools
from collections.abc import Sequence

from scripts.quality.common.metric_report import interval_text, number
from scripts.results.table import Table
from scripts.utility.bootstrap import Difference
from scripts.utility.metrics import LOWER_IS_BETTER, METRICS, RANKING
from scripts.utility.protocols import BASELINE, UNPAIRED, UPPER
from scripts.utility.subgroups import SubgroupScore
from scripts.utility.summary import REFERENCES, UNGUIDED, Summary, select
from scripts.utility.synthetic_testing import SMALL, AurocError

REFERENCE_TITLES = {"vs_unguided": f"minus {UNGUIDED}", "vs_real": "minus real only"}
TRAINED_ON = {
    "TRTR": "real (TRTR)",
    "TSTR": "synthetic (TSTR)",
    "TRTS": "tested on set (TRTS)",
    "TSRTR": "real + {ratio:g} synth. (TSRTR)",
    BASELINE: "no generator (TRTR+)",
    UPPER: "true risk (upper bound)",
}


def score_tables(summaries: Sequence[Summary]) -> list[Table]:
    """Per downstream model: one row per protocol and set, one column per metric."""
    marked, tables = stars(summaries), []
    for model in _models(summaries):
        cells: dict[Key, list[str]] = {}
        for s in select(summaries, model=model):
            star = "*" if (s.protocol, s.ratio, model, s.metric, s.generator) in marked else ""
            cells.setdefault(_key(s), []).append(_score_text(s) + star)
        columns = ["trained on", "set", *METRICS.values()]
        tables.append(Table(f"Scores, downstream model {model}", columns, _blocks(cells)))
    return tables


def difference_tables(summaries: Sequence[Summary]) -> list[Table]:
    """Per downstream model and metric: paired differences to the unguided set and to real-only
    training; of TRTS the gap to testing on real series."""
    tables = []
    for model, metric in itertools.product(_models(summaries), RANKING):
        of_model = select(summaries, model=model)
        references = [
            name
            for name in REFERENCES
            if any(getattr(s, name) or (name == "vs_real" and s.vs_testing) for s in of_model)
        ]
        rows = select(of_model, metric=metric)
        cells = {
            _key(s): [_difference_text(getattr(s, name)) for name in references]
            for s in rows
            if s.protocol not in ("TRTR", *UNPAIRED)
        }
        # The same models on other rows: nothing is paired, so there is no p.
        cells |= {
            _key(s): [str(s.vs_testing) if name == "vs_real" else "-" for name in references]
            for s in rows
            if s.vs_testing is not None
        }
        if not cells:
            continue
        columns = ["trained on", "set", *(REFERENCE_TITLES[name] for name in references)]
        title = f"Paired differences in {METRICS[metric]}, downstream model {model}"
        # Without the protocol in brackets the table fits a terminal.
        short = [[row[0].partition(" (")[0], *row[1:]] if row else row for row in _blocks(cells)]
        tables.append(Table(title, columns, short))
    return tables


def subgroup_table(scores: Sequence[SubgroupScore]) -> Table:
    """AUROC per group, and its paired differences to the unguided set and to real-only training."""
    references = [name for name in REFERENCES if any(getattr(s.summary, name) for s in scores)]
    rows = [
        [
            f"{score.subgroup} ({score.num_series:,})",
            TRAINED_ON[s.protocol].format(ratio=s.ratio or 0.0),
            s.generator,
            s.model,
            _score_text(s),
            *(str(getattr(s, name) or "-") for name in references),
        ]
        for score in scores
        for s in [score.summary]
    ]
    columns = ["group (test series)", "trained on", "set", "model", "AUROC"]
    columns += [REFERENCE_TITLES[name] for name in references]
    return Table("Subgroups", columns, rows)


def testing_table(errors: Sequence[AurocError]) -> Table:
    """How far the AUROC of real-only models is off when synthetic or few real series test them."""
    rows = [
        [e.group, e.generator, e.model, number(e.real), number(e.synthetic), number(e.error)]
        + [number(e.small[size]) if size in e.small else "-" for size in SMALL]
        for e in errors
    ]
    columns = ["group", "set", "model", "AUROC, all real", "on the set", "error"]
    columns += [f"error of {size} real" for size in SMALL]
    return Table("Synthetic series as a test set", columns, rows)


def stars(summaries: Sequence[Summary]) -> set[tuple[str, float | None, str, str, str]]:
    """(protocol, ratio, model, metric, generator) of every number that earns a mark."""
    blocks: dict[tuple[str, float | None, str, str], list[Summary]] = {}
    for summary in summaries:
        key = (summary.protocol, summary.ratio, summary.model, summary.metric)
        blocks.setdefault(key, []).append(summary)
    return {
        (*key, best.generator)
        for key, block in blocks.items()
        if (best := _clear_best(key[-1], block)) is not None
    }


def _clear_best(metric: str, block: Sequence[Summary]) -> Summary | None:
    better = min if metric in LOWER_IS_BETTER else max
    best = better(block, key=lambda summary: summary.mean)
    if best.generator == UNGUIDED:
        references = [s.vs_unguided for s in block if s is not best]
    else:
        references = [best.vs_unguided]
    clear = [d is not None and d.excludes_zero for d in references]
    return best if clear and all(clear) else None


Key = tuple[str, float | None, str]


def _key(summary: Summary) -> Key:
    return summary.protocol, summary.ratio, summary.generator


def _blocks(cells: dict[Key, list[str]]) -> list[list[str]]:
    """Rows with the protocol named once per block, and a rule after each protocol."""
    rows: list[list[str]] = []
    before: tuple[str, float | None] | None = None
    for (protocol, ratio, generator), values in cells.items():
        if before is not None and before[0] != protocol:
            rows.append([])
        name = TRAINED_ON[protocol].format(ratio=ratio or 0.0)
        rows.append([name if (protocol, ratio) != before else "", generator, *values])
        before = (protocol, ratio)
    return [*rows, []] if rows else rows


def _score_text(summary: Summary) -> str:
    if summary.metric in RANKING:
        return interval_text(summary.mean, summary.low, summary.high)
    return number(summary.mean)


def _difference_text(difference: Difference | None) -> str:
    if difference is None:
        return "-"
    return f"{difference} p={difference.p:.3f}{'+' if difference.survives_correction else ''}"


def _models(summaries: Sequence[Summary]) -> list[str]:
    return list(dict.fromkeys(summary.model for summary in summaries))
