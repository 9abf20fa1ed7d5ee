"""Which patients go into which split: eligibility filters and stratified assignment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from configs.runtime.errors import ConfigError, DataError
from data_preprocess.cohort import Cohort
from data_preprocess.sources.registry import SourceData
from data_preprocess.splits import split_by_subject

Rule = Mapping[str, Sequence[float]]


def deal(source: SourceData, data: Any) -> dict[str, Cohort]:
    """Deals the pool; a split that the source brings itself is not drawn from the pool.

    Args:
        data: the values of the section `data`: sizes, shares and rules of the splits, seed.
    """
    guide = data.val_guide if data.guide_size is None else data.guide_size
    select = data.val_select if data.select_size is None else data.select_size
    held_out: dict[str, float | int] = {} if source.test is not None else {"test": data.test}
    if source.val is None:
        held_out |= {"val_guide": guide, "val_select": select}
    rules = rules_of(data)
    cohorts = _deal(source.pool, held_out, data.train_size, data.seed, rules)
    if source.test is not None:
        cohorts["test"] = only_allowed(source.test, rules["test"], "test")
    if source.val is not None:
        if data.guide_size is None:  # the two shares become the proportion of the two halves
            guide = data.val_guide / max(data.val_guide + data.val_select, 1e-12)
        rules["train"] = rules["val_select"]  # what is left of the source's own validation set
        halves = _deal(source.val, {"val_guide": guide}, data.select_size, data.seed, rules)
        cohorts |= {"val_guide": halves["val_guide"], "val_select": halves["train"]}
    return cohorts


def _deal(
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


def rules_of(data: Any) -> dict[str, Rule]:
    """The rule of every split; an empty one lets all stays in."""
    return {
        "train": data.train_where,
        "val_guide": data.guide_where,
        "val_select": data.select_where,
        "test": data.test_where,
    }


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
    for name, values in rule.items():
        keep &= np.isin(cohort.static[:, _column(cohort, name, split)], list(values))
    if not keep.any():
        found = {
            name: sorted(set(cohort.static[:, _column(cohort, name, split)].tolist()))[:10]
            for name in rule
        }
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


def _column(cohort: Cohort, name: str, split: str) -> int:
    bare = [full.split("[")[0] for full in cohort.static_names]
    for names in (cohort.static_names, bare):
        if name in names:
            return list(names).index(name)
    raise ConfigError(
        f"the rule of the {split} split names the static covariate {name!r}; this source has "
        f"{', '.join(bare) or 'none'}"
    )


def _show(rule: Mapping[str, Sequence[float]]) -> str:
    parts = (
        f"{name} {', '.join(f'{value:g}' for value in values)}" for name, values in rule.items()
    )
    return "; ".join(parts)
