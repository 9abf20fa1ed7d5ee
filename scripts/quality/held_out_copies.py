"""Series that results are measured with, or near copies, in a set: then no result on it holds.

A generator sees train, and perhaps val_guide; copies of those are a leak, which the privacy metrics
look for. Series of val_select and test can be in a set only by mistake, and then a model trained on
it has seen its test.
"""

from collections.abc import Mapping

from data_preprocess.dataset import EHRDataset
from data_preprocess.splits import Splits
from scripts.quality.common.comparison import FEW_PATIENTS
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import CHANCE, WIDEN
from tardiff.privacy.memorisation import closeness, telling

HELD_OUT = {"val_select": "selection series", "test": "test series"}

Copies = Mapping[str, Mapping[str, int]]


def held_out_copies(splits: Splits, sets: Mapping[str, EHRDataset]) -> Copies:
    """set -> split -> how many of its series are copies of that split's, where there are any.

    All pairs are compared. A held-out series that stands in train too (a repeated record) may be in
    a set by way of that, and one with next to nothing measured by chance: neither counts.
    """
    normaliser = splits.normaliser
    train = normaliser.to_model(splits.train.values)
    found: dict[str, dict[str, int]] = {}
    for split in HELD_OUT:
        held_out = telling(getattr(splits, split), normaliser)
        own = held_out[~closeness(held_out, train).copy]
        for name, dataset in sets.items():
            count = int(closeness(normaliser.to_model(dataset.values), own).copy.sum())
            if count:
                found.setdefault(name, {})[split] = count
    return found


def sentence(copies: Mapping[str, int]) -> str:
    """How many series of which split a set holds."""
    parts = " and ".join(f"{count:,} {HELD_OUT[split]}" for split, count in copies.items())
    return f"It holds copies of {parts}."


def sentence_of_nearness(privacy: MetricReport) -> str:
    """What tells that near copies of test series are in a set; "" where nothing surely does.

    A generator that saw no test series is as near to these as to other patients, and nearer to
    those it learned from. The two rules are those of the leaks of train on the other side of 0.5.
    Where training series themselves are nearer to test series than to each other, the two differ in
    distribution, and nearness tells nothing.
    """
    values = privacy.values
    if FEW_PATIENTS in values or values["train_closer_to_train_high"] < 0.5:
        return ""
    for name in ("closer_to_train_share", "membership_auc"):
        value, high = values[name], values[f"{name}_high"]
        if value + WIDEN * (high - value) < values[f"{name}_reference"]:
            return (
                f"It is nearer to test series than to those it may have learned from ({name} "
                f"{value:.3f}, p < {CHANCE:g}): test series may have gone into it."
            )
    return ""
