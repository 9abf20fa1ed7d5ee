"""Alarms: the rules by which a fidelity or privacy metric says "something is wrong here".

Each rule compares a metric with its own real-data reference, so it fires on a defect and not on a
small test set; tests/unit/scripts/test_known_defects.py shows which defect fires which rule, and
that fresh real stays fire none. A quiet alarm is no certificate: it says that this defect was not
found.
"""

from collections.abc import Callable
from dataclasses import dataclass

Values = dict[str, float]
CHANCE = 1e-3  # of a false alarm of one privacy rule
WIDEN = 3.0902 / 1.9600  # from the lower end of a normal 95 % interval to that of CHANCE


@dataclass(frozen=True)
class Alarm:
    """One rule.

    Attributes:
        metric: the name whose value the rule is about; the rule is skipped where it is absent.
        kind: "fidelity" or "privacy".
        meaning: what the alarm says, for a reader.
        fires: the rule, on all values of a report.
    """

    metric: str
    kind: str
    meaning: str
    fires: Callable[[Values], bool]


def above(metric: str, margin: float) -> Callable[[Values], bool]:
    """More than `margin` above the reference."""
    return lambda values: values[metric] > values[f"{metric}_reference"] + margin


def below(metric: str, margin: float) -> Callable[[Values], bool]:
    """More than `margin` below the reference."""
    return lambda values: values[metric] < values[f"{metric}_reference"] - margin


def times(metric: str, factor: float, floor: float) -> Callable[[Values], bool]:
    """More than `factor` times the reference, where it matters: also above `floor`."""
    return lambda v: v[metric] > max(floor, factor * v[f"{metric}_reference"])


def surely_above(metric: str) -> Callable[[Values], bool]:
    """Above the reference by more than chance does in one set of a thousand.

    Reports show 95 % intervals; seven privacy rules at that level would cry wolf together.
    """
    return lambda v: v[metric] - WIDEN * (v[metric] - v[f"{metric}_low"]) > v[f"{metric}_reference"]


def surely_below(metric: str, margin: float) -> Callable[[Values], bool]:
    """The whole 95 % interval is more than `margin` below the reference."""
    return lambda v: v[f"{metric}_high"] < v[f"{metric}_reference"] - margin


def outside(metric: str, factor: float) -> Callable[[Values], bool]:
    """A ratio beyond `factor` or below its inverse."""
    return lambda values: not 1 / factor <= values[metric] <= factor


ALARMS = (
    Alarm(
        "marginal_ks",
        "fidelity",
        "values are distributed differently",
        times("marginal_ks", 2.0, 0.05),
    ),
    Alarm(
        "marginal_wasserstein",
        "fidelity",
        "values are shifted or spread differently",
        times("marginal_wasserstein", 2.0, 0.1),
    ),
    Alarm(
        "marginal_sd_ratio_worst",
        "fidelity",
        "a channel is too narrow or too wide",
        outside("marginal_sd_ratio_worst", 1.33),
    ),
    Alarm(
        "autocorrelation_difference",
        "fidelity",
        "values do not follow from earlier ones",
        times("autocorrelation_difference", 2.0, 0.05),
    ),
    Alarm(
        "cross_correlation_difference",
        "fidelity",
        "channels do not move together",
        times("cross_correlation_difference", 2.0, 0.1),
    ),
    Alarm(
        "change_ratio_worst",
        "fidelity",
        "a channel jumps too much or too little",
        outside("change_ratio_worst", 1.5),
    ),
    Alarm(
        "pressure_order_violations",
        "fidelity",
        "systolic >= mean >= diastolic is broken",
        above("pressure_order_violations", 0.02),
    ),
    Alarm(
        "out_of_range_share",
        "fidelity",
        "values beyond any seen in train",
        above("out_of_range_share", 0.02),
    ),
    Alarm(
        "flat_share",
        "fidelity",
        "series do not move",
        above("flat_share", 0.05),
    ),
    Alarm(
        "frechet",
        "fidelity",
        "shapes are distributed differently",
        times("frechet", 2.0, 0.05),
    ),
    Alarm(
        "frechet_within_class",
        "fidelity",
        "series do not fit their label",
        lambda v: (
            v["frechet_within_class_p"] < 0.01
            and v["frechet_within_class"] > 1.3 * v["frechet_within_class_reference"]
        ),
    ),
    Alarm(
        "label_auc_of_real_probe",
        "fidelity",
        "series do not carry their label",
        surely_below("label_auc_of_real_probe", 0.05),
    ),
    Alarm(
        "label_auc_of_synthetic_probe",
        "fidelity",
        "labels mean something else",
        surely_below("label_auc_of_synthetic_probe", 0.05),
    ),
    Alarm(
        "precision",
        "fidelity",
        "series lie where no real one does",
        below("precision", 0.15),
    ),
    Alarm(
        "recall",
        "fidelity",
        "kinds of real series are never generated",
        below("recall", 0.15),
    ),
    Alarm(
        "coverage",
        "fidelity",
        "real series without a synthetic one nearby",
        below("coverage", 0.15),
    ),
    Alarm(
        "unique_share",
        "fidelity",
        "the same series again and again",
        below("unique_share", 0.02),
    ),
    Alarm(
        "mmd2",
        "fidelity",
        "the two samples are not of one distribution",
        lambda values: values["mmd_p"] < 0.01,
    ),
    Alarm(
        "predictive_ratio",
        "fidelity",
        "forecasters trained on it forecast worse",
        outside("predictive_ratio", 1.1),
    ),
    Alarm(
        "discriminative_auc",
        "fidelity",
        "a classifier tells it from real",
        above("discriminative_auc", 0.1),
    ),
    Alarm(
        "exact_copy_share",
        "privacy",
        "it holds train stays",
        above("exact_copy_share", 0.0),
    ),
    Alarm(
        "near_copy_share",
        "privacy",
        "it holds near copies of train stays",
        lambda v: v["near_copy_share_low"] > v["near_copy_share_reference_high"],
    ),
    Alarm(
        "closer_to_train_share",
        "privacy",
        "it hugs train stays",
        surely_above("closer_to_train_share"),
    ),
    Alarm(
        "nnaa_loss",
        "privacy",
        "it is nearer to train than to strangers",
        surely_above("nnaa_loss"),
    ),
    Alarm(
        "membership_auc",
        "privacy",
        "an attacker can tell who was in train",
        surely_above("membership_auc"),
    ),
    Alarm(
        "membership_tpr",
        "privacy",
        "some train stays can be named with certainty",
        lambda values: values["membership_tpr_p"] < CHANCE,
    ),
    Alarm(
        "attribute_advantage",
        "privacy",
        "secrets of train stays can be read off",
        surely_above("attribute_advantage"),
    ),
)


def raised(values: Values) -> dict[str, bool]:
    """Whether each rule fires, by metric; metrics that `values` lacks are left out."""
    return {alarm.metric: alarm.fires(values) for alarm in ALARMS if alarm.metric in values}
