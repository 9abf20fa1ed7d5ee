"""deal: the stays of a source, sorted into the four splits by patient and by rule."""

from configs.schema import DataConfig
from data_preprocess.cohort import Cohort
from data_preprocess.sources import SourceData
from data_preprocess.splits import split_by_subject
from data_preprocess.where import Rule, allowed, only_allowed, rules_of


def deal(source: SourceData, data: DataConfig) -> dict[str, Cohort]:
    """Deals the pool; a split that the source brings itself is not drawn from the pool."""
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
