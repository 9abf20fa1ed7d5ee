"""The utility section: how well models trained with each set do, and what the figures say."""

from collections.abc import Callable, Iterable, Sequence

from scripts.pictures.curves import curve_figure, reliability_figure
from scripts.pictures.styles import Picture, Styles
from scripts.report.figures import (
    difference_figure,
    file_name,
    headline_figure,
    headline_rows,
    tsrtr_figure,
)
from scripts.report.page import Section
from scripts.results.results import Results
from scripts.results.tables import (
    TITLES,
    compared,
    difference_tables,
    score_tables,
    subgroup_table,
    testing_table,
    ungrouped,
)
from scripts.utility.bootstrap import Difference
from scripts.utility.metrics import LOWER_IS_BETTER
from scripts.utility.protocols import BASELINE, REAL
from scripts.utility.subgroups import SubgroupScore
from scripts.utility.summary import Summary

ABOUT_TESTING = (
    "May a model be tested on synthetic series? Mean absolute error of the AUROC of models trained "
    "on real series: on the whole set, and on so many real test series drawn at random. "
)


def utility_sections(results: Results, styles: Styles) -> list[Section]:
    """Pictures and tables of every downstream model; groups of patients where they are known."""
    summaries = results.summaries
    pictures = [
        picture for model in results.models for picture in _pictures(results, model, styles)
    ]
    tables = score_tables(summaries) + difference_tables(summaries)
    sections = [Section("Utility: models trained with it", [], pictures, tables)]
    if results.testing:
        table = testing_table(results.testing)
        sections.append(
            Section(table.heading, [ABOUT_TESTING + ungrouped(results.testing)], tables=[table])
        )
    if results.subgroups:
        text = f"Many groups are looked at and some are small. {_groups(results.subgroups)}"
        table = subgroup_table(results.subgroups)
        sections.append(Section(table.heading, [text], tables=[table]))
    return sections


def _pictures(results: Results, model: str, styles: Styles) -> list[Picture]:
    rows = [s for s in results.summaries if s.model == model]
    protocols = {row.protocol for row in rows}
    sets = ", ".join(results.sets) or "no set"
    found: list[Picture] = []

    def add(name: str, draw: Callable, source: object, alt: str, caption: str) -> None:
        figure = draw(source, model, styles)
        found.append(Picture(f"{name}_{file_name(model)}", figure, alt, caption))

    alt = f"AUROC with intervals: real training series, {sets}, and both together"
    add("auroc", headline_figure, results.summaries, alt, _headline(rows, model))
    if "TSRTR" in protocols:
        caption = _versus_real(_largest_ratio(rows), "auroc")
        alt = f"AUROC and AUPRC against the amount of synthetic data added: {sets}"
        add("tsrtr", tsrtr_figure, results.summaries, alt, caption)
    if protocols & {"TSTR", "TSRTR"}:
        alt = f"Paired differences with intervals, per protocol: {sets}"
        add("differences", difference_figure, results.summaries, alt, _clear(rows))
    alt = f"ROC and precision-recall curves of real-only and synthetic-only training: {sets}"
    add("roc_pr", curve_figure, results.curves[model], alt, _levels(rows, ("auroc", "auprc")))
    alt = f"Observed share against predicted probability: real-only training and {sets}"
    caption = f"{_levels(rows, ('ece', 'brier'))} {_versus_real(_trained_alone(rows), 'brier')}"
    add("calibration", reliability_figure, results.curves[model], alt, caption.strip())
    return found


def reading(difference: Difference, *, lower_is_better: bool) -> str:
    """ "better", "worse" or that no difference can be seen."""
    if not difference.excludes_zero:
        return "no difference can be seen"
    return "better" if (difference.low > 0) != lower_is_better else "worse"


def _versus_real(rows: Iterable[Summary], metric: str) -> str:
    """One sentence per set: its difference to real-only training."""
    return " ".join(
        f"{s.generator}: {TITLES[metric]} {compared(s.vs_real)} against real data alone, "
        f"{reading(s.vs_real, lower_is_better=metric in LOWER_IS_BETTER)}"
        + (f" (synthetic : real {s.ratio:g})." if s.ratio else ".")
        for s in rows
        if s.metric == metric and s.vs_real is not None
    )


def _headline(rows: Sequence[Summary], model: str) -> str:
    """Differences of the drawn rows to real-only training."""
    sources = {"TSTR": "{}", "TSRTR": "real + {}", BASELINE: "real, no generator, {}"}
    return " ".join(
        f"{sources[s.protocol].format(s.generator)}: {compared(s.vs_real)} against real alone, "
        f"{reading(s.vs_real, lower_is_better=False)}."
        for s in headline_rows(rows, model)
        if s.vs_real is not None
    )


def _largest_ratio(rows: Sequence[Summary]) -> list[Summary]:
    mixed = [s for s in rows if s.protocol == "TSRTR"]
    largest = max(s.ratio or 0.0 for s in mixed)
    return [s for s in mixed if s.ratio == largest]


def _trained_alone(rows: Sequence[Summary]) -> list[Summary]:
    return [s for s in rows if s.protocol == "TSTR"]


def _levels(rows: Sequence[Summary], metrics: Sequence[str]) -> str:
    """The metrics of real-only and synthetic-only training."""
    chosen = [s for s in rows if s.protocol in ("TRTR", "TSTR") and s.metric in metrics]
    by_set: dict[str, list[str]] = {}
    for s in chosen:
        text = f"{TITLES[s.metric]} {s.mean:.3f} [{s.low:.3f}, {s.high:.3f}]"
        by_set.setdefault(s.generator, []).append(text)
    named = {"real only" if name == REAL else name: texts for name, texts in by_set.items()}
    return "; ".join(f"{name}: {', '.join(texts)}" for name, texts in named.items()) + "."


def _clear(rows: Sequence[Summary]) -> str:
    """How many of the drawn differences differ from 0."""
    drawn = [s for s in rows if s.protocol in ("TSTR", "TSRTR") and s.metric in ("auroc", "auprc")]
    reference = "vs_unguided" if any(s.vs_unguided for s in drawn) else "vs_real"
    found = [d for s in drawn if (d := getattr(s, reference)) is not None]
    clear = sum(d.excludes_zero for d in found)
    kept = sum(d.p_holm is not None and d.p_holm < 0.05 for d in found)
    return (
        f"{clear} of {len(found)} intervals exclude 0; {kept} differences remain below 0.05 after "
        "Holm's correction."
    )


def _groups(groups: Sequence[SubgroupScore]) -> str:
    found = [(g, g.summary.vs_real) for g in groups if g.summary.vs_real is not None]
    worse = [f"{g.subgroup} ({g.summary.generator})" for g, d in found if d.high < 0]
    if not worse:
        return (
            f"In none of {len(found)} comparisons is AUROC surely below that of real-only training."
        )
    names = ", ".join(dict.fromkeys(worse))
    return (
        f"In {len(worse)} of {len(found)} comparisons AUROC is below that of real-only training "
        f"with an interval that excludes 0: {names}."
    )
