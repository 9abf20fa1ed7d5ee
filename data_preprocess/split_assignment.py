"""Which patients go into which split: eligibility filters and stratified assignment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from configs.runtime.errors import DataError
from data_preprocess.cohort import Cohort
from data_preprocess.dataset import index_of
from data_preprocess.sources.registry import SourceData

Rule = Mapping[str, Sequence[float]]


def assign(source: SourceData, data: Any) -> dict[str, Cohort]:
    """Assigns the pool to splits; a split that the source brings itself is not drawn from it.

    Args:
        data: the values of the section `data`: sizes, shares and rules of the splits, seed.
    """
    guide = data.val_guide if data.guide_size is None else data.guide_size
    select = data.val_select if data.select_size is None else data.select_size
    held_out: dict[str, float | int] = {} if source.test is not None else {"test": data.test}
    if source.val is None:
        held_out |= {"val_guide": guide, "val_select": select}
    rules: dict[str, Rule] = {
        "train": data.train_where,
        "val_guide": data.guide_where,
        "val_select": data.select_where,
        "test": data.test_where,
    }
    cohorts = _assign(source.pool, held_out, data.train_size, data.seed, rules)
    if source.test is not None:
        cohorts["test"] = only_allowed(source.test, rules["test"], "test")
    if source.val is not None:
        if data.guide_size is None:  # the two shares become the proportion of the two halves
            guide = data.val_guide / max(data.val_guide + data.val_select, 1e-12)
        rules["train"] = rules["val_select"]  # what is left of the source's own validation set
        halves = _assign(source.val, {"val_guide": guide}, data.select_size, data.seed, rules)
        cohorts |= {"val_guide": halves["val_guide"], "val_select": halves["train"]}
    return cohorts


def _assign(
    cohort: Cohort,
    held_out: dict[str, float | int],
    train_size: int | None,
    seed: int,
    rules: dict[str, Rule],
) -> dict[str, Cohort]:
    rows = split_by_subject(
        cohort.subject_ids,
        cohort.labels,
        held_out=held_out,
        train_size=train_size,
        seed=seed,
        eligible={name: allowed(cohort, rules[name], name) for name in (*held_out, "train")},
    )
    return {name: cohort.take(chosen) for name, chosen in rows.items()}


def split_by_subject(
    subject_ids: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    *,
    held_out: dict[str, float | int],
    train_size: int | None = None,
    seed: int,
    eligible: Mapping[str, Bool[np.ndarray, " n"]] | None = None,
) -> dict[str, Int[np.ndarray, " m"]]:
    """Row numbers per split, ascending; no patient is in two splits.

    Patients are stratified by the largest label among their stays, shuffled with `seed`, and
    assigned to the held-out splits in the given order; what is left is train.

    Args:
        held_out: per split, a share of all stays (float in [0, 1)) or a number of stays (int).
            A split is filled with whole patients, so it can fall short by less than one patient's
            stays per stratum, never exceed.
        train_size: subsample train, again by patient, to at most this many stays.
        eligible: per split, the stays that may enter it (all where a split is not named); shares
            are of these. A patient enters a split only with all of their stays.

    Raises:
        DataError: the sizes ask for more stays than there are.
    """
    patients, member = np.unique(subject_ids, return_inverse=True)
    stays = np.bincount(member, minlength=len(patients))
    strata = np.zeros(len(patients), np.int64)
    np.maximum.at(strata, member, labels)
    free = np.random.default_rng(seed).permutation(len(patients))
    chosen: dict[str, np.ndarray] = {}
    for name, wanted in {**held_out, "train": train_size}.items():
        may = (eligible or {}).get(name, np.ones(len(labels), bool))
        own = free[(np.bincount(member, weights=~may) == 0)[free]]
        if wanted is not None:
            size = wanted if isinstance(wanted, int) else round(wanted * int(may.sum()))
            own = _draw(own, stays, strata, size, name)
        chosen[name] = own
        free = free[~np.isin(free, own)]
    return {name: np.flatnonzero(np.isin(member, chosen[name])) for name in ("train", *held_out)}


def _draw(
    free: Int[np.ndarray, " p"],
    stays: Int[np.ndarray, " q"],
    strata: Int[np.ndarray, " q"],
    size: int,
    name: str,
) -> Int[np.ndarray, " r"]:
    """Patients for a split of `size` stays, drawn from `free` in its order, per stratum."""
    available = int(stays[free].sum())
    if size > available:
        raise DataError(
            f"{name} split: {size} stays wanted but only {available} are left in the pool after "
            "the splits assigned before it - ask for fewer (data.train_size, data.guide_size, "
            "data.select_size; null takes a share of the pool) or add data"
        )
    totals = np.bincount(strata[free], weights=stays[free])
    quotas = _none_left_out(apportion(totals, size), totals)
    taken = [
        _fill(free[strata[free] == stratum], stays, int(quota))
        for stratum, quota in enumerate(quotas)
    ]
    return np.concatenate(taken)


def apportion(totals: np.ndarray, size: int) -> Int[np.ndarray, " stratum"]:
    """`size` shared among strata in proportion to `totals`, by largest remainder."""
    exact = size * totals / max(totals.sum(), 1)
    quotas = np.floor(exact).astype(np.int64)
    order = np.argsort(quotas - exact, kind="stable")
    quotas[order[: size - quotas.sum()]] += 1
    return quotas


def _none_left_out(quotas: np.ndarray, totals: np.ndarray) -> Int[np.ndarray, " stratum"]:
    """A stratum that has patients gets at least one stay where the split has room for it: a rare
    class must not vanish from a small split by rounding."""
    for stratum in np.flatnonzero((quotas == 0) & (totals > 0)):
        largest = int(quotas.argmax())
        if quotas[largest] > 1:
            quotas[largest] -= 1
            quotas[stratum] += 1
    return quotas


def _fill(
    patients: Int[np.ndarray, " p"], stays: Int[np.ndarray, " q"], quota: int
) -> Int[np.ndarray, " r"]:
    """The first patients that fit into `quota` stays, larger ones skipped once they do not fit."""
    taken, left = [], quota
    for patient in patients:
        if left == 0:
            break
        if stays[patient] <= left:
            taken.append(patient)
            left -= stays[patient]
    return np.array(taken, np.int64)


def allowed(cohort: Cohort, rule: Rule, split: str) -> Bool[np.ndarray, " n"]:
    """True for the stays that fulfil every part of the rule; an unknown covariate fulfils none.

    Args:
        rule: per static covariate, named with or without its unit, the values let in.
        split: for the error message.

    Raises:
        ConfigError: no such static covariate.
        DataError: no stay fulfils the rule.
    """
    keep = np.ones(len(cohort), bool)
    where = f"the rule of the {split} split"
    columns = {n: cohort.static[:, index_of(n, cohort.static_names, where)] for n in rule}
    for name, values in rule.items():
        column = columns[name]  # single precision, as is what it is compared with
        keep &= np.isin(column, np.array(list(values), column.dtype))
    if not keep.any():
        found = {name: sorted(set(column.tolist()))[:10] for name, column in columns.items()}
        raise DataError(
            f"no stay may enter the {split} split: the rule is {_show(rule)}, the data have "
            f"{_show(found)}"
        )
    return keep


def only_allowed(cohort: Cohort, rule: Rule, split: str) -> Cohort:
    """The stays that fulfil the rule; the flow says how many do not."""
    return cohort.remove(
        {f"not in the {split} split ({_show(rule)})": ~allowed(cohort, rule, split)}
    )


def _show(rule: Mapping[str, Sequence[float]]) -> str:
    parts = (
        f"{name} {', '.join(f'{value:g}' for value in values)}" for name, values in rule.items()
    )
    return "; ".join(parts)
