"""The column of labels of a user's table, its classes, and which of them is to be predicted."""

from collections.abc import Mapping, Sequence

from configs.runtime.errors import DataError, few
from data_preprocess.new_experiment.columns import named, plain
from data_preprocess.new_experiment.proposal import Proposal
from data_preprocess.storage.cell_text import id_sql, text_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile, identifier

LABEL = ("label", "outcome", "died", "death", "dead", "mortality", "inhospitaldeath")
LABEL += ("hospitalexpireflag", "expired", "survived", "target", "y", "class", "event", "sepsis")
LABEL += ("readmitted", "readmission", "status", "diagnosis", "diedinhospital", "hospitaldeath")
LABEL += ("inhospitalmortality", "hospitalmortality", "icumortality", "icudeath")
GOOD = ("survived", "survival", "alive", "recovered")  # labels whose 1 is seldom what is predicted
MOST_CLASSES = 10
_POSITIVE = ("died", "dead", "death", "deceased", "expired", "yes", "true", "positive", "case")
_POSITIVE += ("event", "sepsis", "sick", "ill", "nonsurvivor", "readmitted", "abnormal")


def find_label(
    engine: Engine, table: TableFile, given: str | None, *, key: str, constant: Mapping[str, bool]
) -> tuple[str, dict[str, int]]:
    """The column of labels, and how many series have each.

    Args:
        given: the column that the user named.
        key: the column of ids; constant: of the others, whether it has one value in every series.

    Raises:
        DataError: there is none, or what it holds are no classes of series.
    """
    where = table.path
    label = given or named(list(constant), LABEL)
    if label is None or label not in table.columns:
        raise DataError(
            f"{where}: no column looks like a label ({few(constant)}); name one of them with "
            "data.table.label=COLUMN"
        )
    series, cell = text_sql(identifier(key)), text_sql(identifier(label))
    if not constant.get(label, True):
        which, one, other = engine.rows(
            f"SELECT * FROM (SELECT {series}, min({cell}) AS low, max({cell}) AS high FROM "
            f"{table.scan} WHERE {series} IS NOT NULL GROUP BY ALL) WHERE low < high ORDER BY 1"
        )[0]
        raise DataError(
            f"{where}: `{label}` changes within a series ({which} has {one} and {other}); a label "
            "is one value per series - name another column with data.table.label=COLUMN"
        )
    # Named in a query of their own: an alias loses against a column of the same name.
    rows = engine.rows(
        f"SELECT name, count(DISTINCT series) FROM (SELECT {id_sql(identifier(label))} AS name,"
        f" {series} AS series FROM {table.scan}) "
        "WHERE name IS NOT NULL GROUP BY name ORDER BY name"
    )
    spellings: dict[str, dict[str, int]] = {}
    for name, count in rows:
        spellings.setdefault(str(name).casefold(), {})[str(name)] = int(count)
    counts = {max(s, key=lambda one: s[one]): sum(s.values()) for s in spellings.values()}
    if len(counts) < 2:
        raise DataError(
            f"{where}: `{label}` has one class ({few(counts) or 'nothing'}); two or more are "
            "needed - is it the right column (data.table.label=COLUMN)?"
        )
    if len(counts) > MOST_CLASSES:
        raise DataError(
            f"{where}: `{label}` has {len(counts):,} different values in "
            f"{sum(counts.values()):,} series, so it looks like ids or measurements and no "
            "class; name another column with data.table.label=COLUMN"
        )
    return label, counts


def tell_classes(
    proposal: Proposal, label: str, counts: Mapping[str, int], given: Sequence[str] | None
) -> list[str] | None:
    """Tells the classes of a label; the order of two words, where the user gave none."""
    shown = ", ".join(f"{name} ({count:,})" for name, count in counts.items())
    text = f"`{label}`: {shown}"
    numbers = all(name.lstrip("-").isdecimal() for name in counts)
    classes, two = None, len(counts) == 2 and not given
    if two and numbers:
        low, high = sorted(counts, key=int)
        text += f"; positive is {high}"
        if plain(label) in GOOD:
            proposal.decide.append(
                f"`{label}` {high} is the class to be predicted; if it should be "
                f"the other one, data.table.classes=[{high},{low}]"
            )
    elif two:
        classes, why = class_order(counts)
        text += f"; positive is {classes[-1]}, {why}"
        proposal.decide.append(
            f"is {classes[-1]!r} the class to be predicted? Else swap data.table.classes"
        )
    proposal.understood["label"] = text
    return classes


def class_order(counts: Mapping[str, int]) -> tuple[list[str], str]:
    """The two classes with the positive one last, and why it is that one.

    Args:
        counts: word labels -> series.
    """
    rarer = min(counts, key=lambda name: (counts[name], name))
    known = [name for name in counts if name.lower().replace("-", "") in _POSITIVE]
    positive = known[0] if len(known) == 1 else rarer
    why = "by its name" if len(known) == 1 else "the rarer one"
    return [name for name in counts if name != positive] + [positive], why
