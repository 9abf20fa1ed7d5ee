"""What in a cohort looks like a mistake and may be meant: told, not refused."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import roc_auc_score

from configs.runtime.errors import few
from data_preprocess.cohort import Cohort

FEWEST_TRAINED = 20  # series in train and in test: metrics need as many
FEWEST_PER_CLASS = 2  # series of a class in each split
_UNKNOWN = ("unknown", "unk", "unclear", "undetermined", "not known")
_ALONE = 0.99  # AUROC
_SELDOM = 0.2
_MOST_LEVELS = 20
_FEWEST = 8  # stays on either side; of fewer, such an AUROC may be chance


def doubts(cohort: Cohort, *, has_ranges: bool) -> list[str]:
    """A sentence for each, with what to do.

    Args:
        has_ranges: the source reads `data.table.ranges`.
    """
    codes = [
        f"{sentence} Empty these cells"
        + (f", or say what is plausible: {_ranges(names)}" if has_ranges else "")
        for names, sentence in codes_for_missing(cohort.values, cohort.feature_names)
    ]
    codes += [
        f"{sentence} Empty these cells"
        for _, sentence in codes_for_missing(cohort.static[:, :, None], cohort.static_names)
    ]
    codes += unknown_classes(cohort.label_names, cohort.class_counts)
    return codes + [
        f"channels {names} differ by case or spaces only: one variable, written in "
        f"{count} ways? Write it in one"
        for names, count in _alike(cohort.feature_names)
    ]


def _ranges(names: Sequence[str]) -> str:
    """The argument of a command that says them, to be filled in."""
    return f'"data.table.ranges={{{", ".join(f"{name!r}: [LOW, HIGH]" for name in names)}}}"'


def too_few(cohorts: Mapping[str, Cohort]) -> str:
    """A sentence on the first split that is too small for what is done with it; "" if none is."""
    for split, cohort in cohorts.items():
        needed = FEWEST_TRAINED if split in ("train", "test") else 1
        if cohort.class_counts.min() < FEWEST_PER_CLASS or len(cohort) < needed:
            return (
                f"too few series for four splits: {sum(map(len, cohorts.values())):,} in all, "
                f"{split} would have {len(cohort)} ({cohort.per_class}); needed are "
                f"{FEWEST_TRAINED} in train and in test, and {FEWEST_PER_CLASS} of every class in "
                "each split"
                + ("" if split == "train" else f"; data.{split} is the share of {split}")
            )
    return ""


def unknown_classes(names: Sequence[str], counts: Int[np.ndarray, " k"]) -> list[str]:
    """A sentence for each of three or more classes that may be no class.

    Args:
        names, counts: of the classes, and stays in each.
    """
    return [
        f"the label {name} ({count:,} stays) counts as a class; if it means unknown, remove these "
        "stays"
        for name, count in zip(names, counts, strict=True)
        if len(names) > 2 and (name.startswith("-") or name.casefold() in _UNKNOWN)
    ]


def leaks(train: Cohort) -> list[str]:
    """A sentence on what alone gives the label away, if anything does."""
    classes = range(0 if len(train.label_names) > 2 else 1, len(train.label_names))
    found: dict[str, str] = {}
    for owner, name, feature in _summaries(train):
        for label in classes:
            score = _auroc(feature, train.labels == label)
            if score >= _ALONE:
                found.setdefault(
                    owner, f"{name} (AUROC {score:.3f} for {train.label_names[label]})"
                )
    if not found:
        return []
    return [
        f"alone these predict the label of the training stays: {few(found.values())}. Are they "
        "known when the prediction is made? If not, leave them out, or shorten the window"
    ]


def _summaries(cohort: Cohort) -> Iterator[tuple[str, str, np.ndarray]]:
    """Whose, what, and a number per stay (NaN: none) of all that could give a label away."""
    measured = ~np.isnan(cohort.values)
    padded = np.logical_or.reduce(measured, axis=1)[:, ::-1].argmax(axis=1)
    yield "", "the length of a stay", -padded
    for name, column in zip(cohort.static_names, cohort.static.T, strict=True):
        yield name, f"`{name}`", column
        yield name, f"whether `{name}` is known", ~np.isnan(column)
    for k, name in enumerate(cohort.feature_names):
        yield name, f"the number of values of `{name}`", measured[:, k].sum(axis=1)
        yield name, f"the largest value of `{name}`", np.fmax.reduce(cohort.values[:, k], axis=1)
        yield name, f"the smallest value of `{name}`", np.fmin.reduce(cohort.values[:, k], axis=1)


def _auroc(feature: np.ndarray, is_positive: np.ndarray) -> float:
    """Of a number, its negative, or its levels by their share of positives, since those of a
    category have no order; 0 where too few of either class have it."""
    known = ~np.isnan(feature)
    positive = is_positive[known]
    if min(positive.sum(), (~positive).sum()) < _FEWEST:
        return 0.0
    levels, level, counts = np.unique(feature[known], return_inverse=True, return_counts=True)
    scores = [float(roc_auc_score(positive, level))]
    if len(levels) <= _MOST_LEVELS:
        shares = np.bincount(level, weights=positive) / counts
        shares[counts < _FEWEST] = positive.mean()  # of few stays, by chance
        scores.append(float(roc_auc_score(positive, shares[level])))
    return max(*scores, 1 - scores[0])


def codes_for_missing(
    values: Float[np.ndarray, "n channel time"], names: Sequence[str]
) -> Iterator[tuple[list[str], str]]:
    """The channels and a sentence for every value that looks like a code, such as -999.

    Args:
        values: NaN where nothing was measured.
        names: of the channels.
    """
    found = defaultdict(list)
    for k, name in enumerate(names):
        channel = values[:, k][~np.isnan(values[:, k])]
        for end in np.unique(channel[[channel.argmin(), channel.argmax()]]) if len(channel) else ():
            others = channel[channel != end]
            count = len(channel) - len(others)
            if len(others) > 1 and count > 1 and _is_far(float(end), count, others):
                low, high = np.quantile(others, [0.05, 0.95])
                found[float(end)].append((name, count, f"{low:g} to {high:g}"))
    for end, channels in found.items():
        concerned, counts, spans = map(list, zip(*channels, strict=True))
        of = f" of `{concerned[0]}`" if len(concerned) > 1 else ""
        yield (
            concerned,
            f"{sum(counts):,} values of {', '.join(f'`{name}`' for name in concerned)} are "
            f"{end:g}, most others{of} {spans[0]}: a code for missing?",
        )


def _is_far(end: float, count: int, others: np.ndarray) -> bool:
    """Whether a repeated value is farther from all others than these from each other, or ten times
    as far as most of them: a code that was averaged with measurements leaves values in between.
    Or it is the only one below 0, seldom, and the others are several above."""
    if end < 0 < others.min() < others.max() and count < _SELDOM * len(others):
        return True
    for low, high, factor in (
        (others.min(), others.max(), 1),
        (*np.quantile(others, [0.05, 0.95]), 10),
    ):
        # Where most others are equal, as in a flag or a rare dose, there is no such distance.
        if high > low and max(low - end, end - high) > factor * (high - low):
            return True
    return False


def _alike(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Names that are one but for case and spaces, and how many."""
    groups = defaultdict(list)
    for name in names:
        groups["".join(name.casefold().split())].append(name)
    for same in groups.values():
        if len(same) > 1:
            yield few(f"`{name}`" for name in same), len(same)
