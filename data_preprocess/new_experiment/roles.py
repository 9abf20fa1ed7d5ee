"""find_roles, find_label: which columns of a user's table are the id, the time, the patient and the
label with its classes, and of a long one the variable and the value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.runtime.errors import DataError, few
from data_preprocess.dataset import is_number
from data_preprocess.new_experiment.columns import Column, named, plain
from data_preprocess.new_experiment.proposal import Proposal
from data_preprocess.sources.user_table.outcomes import missing_words
from data_preprocess.storage.cell_text import id_sql, text_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile, identifier

# Plain names (columns.plain), the most telling first.
STAY = ("id", "stayid", "icustayid", "patientunitstayid", "encounterid", "visitid", "hadmid")
STAY += ("admissionid", "episodeid", "recordid", "caseid", "seriesid", "sampleid", "stay", "case")
PATIENT = ("subjectid", "patientid", "subject", "patient", "pid", "mrn", "uniquepid")
TIME = ("time", "charttime", "timestamp", "datetime", "hours", "hour", "minutes", "minute")
TIME += ("seconds", "second", "offset", "observationoffset", "days", "day", "date", "t")
VARIABLE = ("variable", "variablename", "parameter", "param", "item", "itemid", "itemname", "code")
VARIABLE += ("channel", "signal", "measurement", "feature", "vital", "test", "name")
VALUE = ("value", "valuenum", "numericvalue", "result", "reading", "val")
LABEL = ("label", "outcome", "died", "death", "dead", "mortality", "inhospitaldeath")
LABEL += ("hospitalexpireflag", "expired", "survived", "target", "y", "class", "event", "sepsis")
LABEL += ("readmitted", "readmission", "status", "diagnosis", "diedinhospital", "hospitaldeath")
LABEL += ("inhospitalmortality", "hospitalmortality", "icumortality", "icudeath")
GOOD = ("survived", "survival", "alive", "recovered")  # labels whose 1 is seldom what is predicted
MOST_CLASSES = 10
_POSITIVE = ("died", "dead", "death", "deceased", "expired", "yes", "true", "positive", "case")
_POSITIVE += ("event", "sepsis", "sick", "ill", "nonsurvivor", "readmitted", "abnormal")
_SHOWN = 40  # columns of a file in a message
ROLES = ("id", "time", "label", "subject", "variable", "value")  # of columns


@dataclass(frozen=True)
class Seen:
    """A table and its columns."""

    table: TableFile
    columns: Mapping[str, Column]

    def find(self, wanted: Sequence[str]) -> str | None:
        """The column that has the first of the `wanted` plain names that is there."""
        return named(list(self.columns), wanted)

    @property
    def time(self) -> str | None:
        """The column of times, by its name."""
        found = self.find(TIME)
        starts = (c for c in self.columns if plain(c).startswith("time"))
        return found or next(starts, None)

    @property
    def rows(self) -> int:
        """The filled cells of its fullest column."""
        return max(column.filled for column in self.columns.values())


@dataclass(frozen=True)
class Tables:
    """Series and labels, which may be one table, and what the user said about them."""

    engine: Engine
    series: Seen
    labels: Seen
    given: Mapping[str, Any]


def require_given(tables: Tables) -> None:
    """Raises DataError if a column that the user named is not there."""
    columns = {*tables.series.columns, *tables.labels.columns}
    if strange := {r: n for r in ROLES if (n := tables.given.get(r)) and n not in columns}:
        given = ", ".join(f"data.table.{role}={name}" for role, name in strange.items())
        raise DataError(f"{given}: there is no such column; {_there(tables)}")


def _there(tables: Tables) -> str:
    """The files and their columns, for messages."""
    files = {seen.table.path.name: seen.columns for seen in (tables.series, tables.labels)}
    return "; ".join(f"{file} has {few(columns, _SHOWN)}" for file, columns in files.items())


def find_roles(tables: Tables) -> dict[str, str]:
    """id, time and, of a long table, variable and value; the patient if named apart.

    Raises:
        DataError: one of them, or the label, has no column; names the keys of all to give.
    """
    series, labels, given = tables.series, tables.labels, tables.given
    both = [c for c in series.columns if c in labels.columns]
    key = given.get("id") or _key(tables, both)
    if key is None and labels is not series and len(both) == 1:
        key = both[0]
    if not both:
        raise DataError(
            f"{series.table.path.name} ({few(series.columns)}) and {labels.table.path.name} "
            f"({few(labels.columns)}) have no column in common; the id of a series must have "
            "the same name in both"
        )
    time = given.get("time") or series.time
    label = given.get("label") or labels.find(LABEL) or series.find(LABEL)
    if label in series.columns and label not in labels.columns:
        raise DataError(
            f"{labels.table.path}: the label `{label}` stands in {series.table.path.name} only; "
            f"give that file alone, or copy the column into {labels.table.path.name}, where "
            "covariates are read too. If it is no label, name yours with data.table.label=COLUMN"
        )
    if key is None or time is None or not label:
        raise DataError(_absent(tables, key, time))
    roles = {"id": key, "time": time}
    found = {"variable": series.find(VARIABLE), "value": series.find(VALUE)}
    long = {name: given.get(name) or column for name, column in found.items()}
    named_one = next((name for name in long if given.get(name)), None)
    lacking = next((name for name, column in long.items() if not column), None)
    if named_one and lacking:
        raise DataError(
            f"data.table.{named_one}={given[named_one]} makes a long table, and no column "
            f"looks like its {lacking} ({few(series.columns)}); name it with "
            f"data.table.{lacking}=COLUMN"
        )
    if all(long.values()) and given.get("layout") != "wide":
        roles |= {name: str(column) for name, column in long.items()}
    patients = [name for name in PATIENT if name != plain(key)]
    subject = given.get("subject") or labels.find(patients) or series.find(patients)
    return roles | ({"subject": subject} if subject else {})


def _absent(tables: Tables, key: str | None, time: str | None) -> str:
    """What to say of a table without an id, a time or a label: all that is to be named."""
    given, series, labels = tables.given, tables.series, tables.labels
    absent = [] if key else ["the id of a series: data.table.id=COLUMN"]
    absent += [] if time else ["a time: data.table.time=COLUMN"]
    if not (given.get("label") or labels.find(LABEL)):
        absent += ["a label: data.table.label=COLUMN"]
        absent[-1] += " or the file that has it" if labels is series else ""
    names = [] if given.get("subject") or labels.find(PATIENT) else ["subject"]
    if not any(given.get(name) for name in ("variable", "value", "layout")):
        names += [] if series.find(VARIABLE) and series.find(VALUE) else ["variable", "value"]
    also = f"; where there is such a column, data.table.{'=, '.join(names)}= too" if names else ""
    return f"no column looks like {', none like '.join(absent)}{also} ({_there(tables)})"


def _key(tables: Tables, both: Sequence[str]) -> str | None:
    """The column of ids: the most telling that some rows share; a number of the row is none."""
    names = [name for word in (*STAY, *PATIENT) if (name := named(both, (word,)))]
    for name in names:
        cell = text_sql(identifier(name))
        rows = tables.engine.rows(
            f"SELECT count({cell}) > count(DISTINCT {cell}) FROM {tables.series.table.scan}"
        )
        if rows[0][0]:
            return name
    return next(iter(names), None)


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
            f"{where}: `{label}` has {f'one class ({few(counts)})' if counts else 'no class'}; two "
            "or more are needed. If it is the wrong column, name another with "
            "data.table.label=COLUMN" + missing_words(engine, table, label)
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
    numbers = all(map(is_number, counts))
    classes, two = None, len(counts) == 2 and not given
    if two and numbers:
        low, high = sorted(counts, key=int)
        text += f"; positive is {high}"
        if plain(label) in GOOD:
            proposal.decide.append(
                f"`{label}` {high} is the class to be predicted; if it should be "
                f"the other one, data.table.classes=[{high},{low}]"
            )
        elif (low, high) == ("0", "1"):
            names = f"not_{label},{label}" if label.isidentifier() else "no,yes"
            proposal.decide.append(
                f"reports and exports call the classes 0 and 1; data.table.classes=[{names}] names "
                "them"
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
