"""Is a set faithful, is it private? The rules on the values and quality flags of its reports."""

from collections.abc import Sequence

from scripts.quality.common.comparison import FEW_PATIENTS, MIN_SERIES
from scripts.quality.common.metric_report import MetricReport, number
from scripts.quality.common.registry import MEMBERS, QualityFlag, raised_flags
from scripts.quality.fidelity.discriminative import CONTROL_AUC, DISCRIMINATIVE_MARGIN, MAX_SCORED
from scripts.quality.fidelity.frechet import MIN_CLASS_ROWS
from scripts.quality.privacy.membership import MAX_ROWS as MAX_ATTACKED
from scripts.results.answers import CANNOT_TELL, NO, NO_LEAK_FOUND, YES, Answer, series_needed

FEWEST_SERIES = 200  # in each set; with fewer, fidelity flags and their absence mean little
LEAK_LIMIT = 0.6  # AUC of an attack, share nearer to train: the intervals must exclude it
MOST_NAMED = 3  # quality flags in a sentence
MOST_TRIALS = 100  # times those at hand: more cannot be asked for
DISCRIMINATE = "discriminative_auc"
SCORED = "discriminative_scored"

# What is said of a number above LEAK_LIMIT, and of one whose interval alone reaches it.
_LEAKS = {
    "membership_auc": (
        "No leak is sure, so no quality flag is raised; but an attack on the training series may "
        "work.",
        "No leak was found, but there are too few series to exclude an attack of AUC "
        f"{LEAK_LIMIT:g}.",
    ),
    "closer_to_train_share": (
        "No leak is sure, so no quality flag is raised; but series may be nearer to train than "
        "chance.",
        "No leak was found, but series may yet be nearer to train than chance.",
    ),
}


def answer_fidelity(report: MetricReport) -> Answer:
    """Answer about likeness."""
    values, flags = report.values, raised_flags(report.values)
    series, of_class = (round(values[f"fewest_{name}"]) for name in ("series", "of_class"))
    if FEW_PATIENTS in values:
        return _few_patients(values)
    limit = values[f"{DISCRIMINATE}_reference"] + DISCRIMINATIVE_MARGIN
    sure, few = values[f"{DISCRIMINATE}_low"] > limit, series < FEWEST_SERIES
    # The other flags have no interval: of few series chance raises one in honest sets, too.
    decisive = [flag for flag in flags if (sure if flag.metric == DISCRIMINATE else not few)]
    if decisive:
        reason = f"It differs from real series: {_named(decisive)}."
        return Answer(NO, reason, _clear(decisive, values))
    if few:
        reason = f"With {series} series the absence of quality flags means little."
        if flags:
            reason = f"With {series} series chance raises quality flags, too ({_named(flags)})."
        return Answer(CANNOT_TELL, reason, f"{FEWEST_SERIES} series in each set are needed")
    if values["discriminative_collapsed"]:
        reason = "The classifier that should distinguish it from real series does not work here."
        return Answer(
            CANNOT_TELL, reason, f"its control AUC must reach {CONTROL_AUC:g}: more series"
        )
    high = values[f"{DISCRIMINATE}_high"]
    if high > limit:
        reason = "No quality flag is certain, but a classifier may distinguish it from real series."
        auc, scored = values[DISCRIMINATE], round(values[SCORED])
        needed = series_needed(scored, high - auc, abs(limit - auc))
        change = f"about {needed:,} synthetic and test series would place its AUC below or above "
        change += f"{limit:.2f}"
        if needed > MAX_SCORED:  # which are not looked at
            change = _must_end(DISCRIMINATE, values, round(limit, 2))
        return Answer(CANNOT_TELL, reason, change)
    if of_class < MIN_CLASS_ROWS:
        reason = f"A class has {of_class} series, too few to see whether they carry its label."
        return Answer(
            CANNOT_TELL, reason, f"{MIN_CLASS_ROWS} of every class in each set are needed"
        )
    return Answer(YES, "None of the defects looked for was found.")


def not_attacked(members: Sequence[str]) -> str:
    """The series that a generator sees and no attack was made on; "" where there are none."""
    return " and ".join(MEMBERS[split] for split in MEMBERS if split not in members)


def answer_privacy(report: MetricReport, members: Sequence[str] = tuple(MEMBERS)) -> Answer:
    """Answer about leaks.

    Args:
        members: splits that were attacked; no others can be cleared.
    """
    values, flags = report.values, raised_flags(report.values)
    unknown = not_attacked(members)
    if FEW_PATIENTS in values and not values["copies"]:
        return _few_patients(values)
    # Both are looked for among training series, so another population in test makes none.
    copied = values["copies"] or any(flag.metric == "near_copy_share" for flag in flags)
    if flags and not copied and populations_differ(report):
        reason = (
            "Training and held-out series differ in distribution, which raises privacy flags of "
            f"honest sets, too ({_named(flags)})."
        )
        return Answer(CANNOT_TELL, reason, "held-out series of the training population are needed")
    if flags:
        whose = f" {MEMBERS[members[0]]}" if unknown else ""
        return Answer(NO, f"It leaks{whose}: {_named(flags)}.", _clear(flags, values))
    if report.remarks:
        reason = "The comparison itself is in doubt (see the remarks below)."
        return Answer(CANNOT_TELL, reason, f"remarks to resolve: {len(report.remarks)}")
    unsure = [name for name in _LEAKS if values[f"{name}_high"] >= LEAK_LIMIT]
    if above := next((name for name in unsure if values[name] >= LEAK_LIMIT), None):
        return Answer(CANNOT_TELL, _LEAKS[above][0], _must_end(above, values, LEAK_LIMIT))
    if unsure:
        trials = round(values["closer_to_train_effective_trials"])
        attacked = round(values["membership_members"])
        counted = {"membership_auc": attacked, "closer_to_train_share": trials}
        most = {"membership_auc": MAX_ATTACKED, "closer_to_train_share": MOST_TRIALS * trials}
        needed = {
            name: series_needed(
                counted[name], values[f"{name}_high"] - values[name], LEAK_LIMIT - values[name]
            )
            for name in unsure
        }
        name = max(needed, key=lambda name: needed[name] / counted[name])
        what = f"training and {2 * needed[name]:,} held-out series"
        if name != "membership_auc":
            what = f"independent trials (now {trials:,}; more synthetic and real series)"
        change = f"about {needed[name]:,} {what} would exclude {LEAK_LIMIT:g}"
        if needed[name] > most[name]:
            change = _must_end(name, values, LEAK_LIMIT)
        return Answer(CANNOT_TELL, _LEAKS[name][1], change)
    if unknown:
        known = MEMBERS[members[0]]
        reason = f"No attack found a leak of the {known}; the {unknown} were not attacked."
        return Answer(CANNOT_TELL, reason, f"only test series like the {unknown} tell of them")
    return Answer(NO_LEAK_FOUND, "No attack on the set found a leak; that is no guarantee.")


def populations_differ(report: MetricReport) -> bool:
    """Whether training and held-out series surely differ in distribution: a set that knows no
    patient in particular is nearer to one of them then. Beside no copy a remark says so too."""
    low, high = (report.values[f"train_closer_to_train_{end}"] for end in ("low", "high"))
    return not low <= 0.5 <= high or bool(report.remarks)


def _must_end(metric: str, values: dict[str, float], limit: float) -> str:
    high = values[f"{metric}_high"]
    digits = next((d for d in range(3, 9) if round(high, d) != limit), 3)  # 0.600 is not above 0.6
    return f"the interval of {metric} ends at {high:.{digits}f} and must end below {limit:g}"


def _few_patients(values: dict[str, float]) -> Answer:
    reason = "Series of one patient are alike, and there are few patients to compare with."
    change = (
        f"{MIN_SERIES} patients in train and in test are needed (now {values[FEW_PATIENTS]:.0f})"
    )
    return Answer(CANNOT_TELL, reason, change)


def _named(flags: Sequence[QualityFlag]) -> str:
    """What the first flags mean, and how many more there are."""
    text = "; ".join(flag.meaning for flag in flags[:MOST_NAMED])
    more = len(flags) - MOST_NAMED
    return text if more <= 0 else f"{text}; and {more} more (all in the table of quality flags)"


def _clear(flags: Sequence[QualityFlag], values: dict[str, float]) -> str:
    first = flags[0]
    count = "1 flag must clear:" if len(flags) == 1 else f"{len(flags)} flags must clear, e.g."
    real = values.get(f"{first.metric}_reference")
    reference = "" if real is None else f"; real {number(real)}"
    return f"{count} {first.metric} {number(values[first.metric])} ({first.threshold}{reference})"
