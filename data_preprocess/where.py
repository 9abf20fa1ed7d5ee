"""Which stays may enter which split: rules on static facts, such as the type of the ICU.

They make settings where the target population differs from the one the generator learns from:
train on some units, guide, select and test on another.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from configs.errors import ConfigError, DataError
from configs.schema import DataConfig
from data_preprocess.cohort import Cohort

Rule = Mapping[str, Sequence[float]]


def rules_of(data: DataConfig) -> dict[str, Rule]:
    """The rule of every split; an empty one lets all stays in."""
    return {
        "train": data.train_where,
        "val_guide": data.guide_where,
        "val_select": data.select_where,
        "test": data.test_where,
    }


def allowed(cohort: Cohort, rule: Rule, split: str) -> Bool[np.ndarray, " n"]:
    """True for the stays that fulfil every part of the rule; an unknown fact fulfils none.

    Args:
        rule: per static fact, named with or without its unit, the values let in.
        split: for the error message.

    Raises:
        ConfigError: no such static fact.
        DataError: no stay fulfils the rule.
    """
    keep = np.ones(len(cohort), bool)
    for fact, values in rule.items():
        keep &= np.isin(cohort.static[:, _column(cohort, fact, split)], list(values))
    if not keep.any():
        found = {
            fact: sorted(set(cohort.static[:, _column(cohort, fact, split)].tolist()))[:10]
            for fact in rule
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


def _column(cohort: Cohort, fact: str, split: str) -> int:
    bare = [name.split("[")[0] for name in cohort.static_names]
    for names in (cohort.static_names, bare):
        if fact in names:
            return list(names).index(fact)
    raise ConfigError(
        f"the rule of the {split} split names the static fact {fact!r}; this source has "
        f"{', '.join(bare) or 'none'}"
    )


def _show(rule: Mapping[str, Sequence[float]]) -> str:
    parts = (
        f"{fact} {', '.join(f'{value:g}' for value in values)}" for fact, values in rule.items()
    )
    return "; ".join(parts)
