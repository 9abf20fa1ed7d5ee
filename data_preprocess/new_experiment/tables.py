"""propose_table: the section `data.table` for a table of series, and its labels, nobody described.

Roles are given by the names of columns, and checked against what the columns hold; what is not
clear is asked for by its key and never guessed from the first rows.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.runtime.errors import DataError, few
from data_preprocess.new_experiment.columns import (
    Column,
    constant_within,
    look,
    named,
    numbers_in,
    numbers_of,
    plain,
    unit_of,
)
from data_preprocess.new_experiment.labels import find_label, tell_classes
from data_preprocess.new_experiment.proposal import Proposal, shares
from data_preprocess.new_experiment.timing import find_timing
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.outcomes import MAX_LEVELS, OPEN_END, require_clear_ids
from data_preprocess.storage.cell_text import name_sql, text_sql
from data_preprocess.storage.duckdb_engine import Engine, open_engine
from data_preprocess.storage.table_file import (
    TableFile,
    identifier,
    open_table,
    quoted,
    require_all_rows,
)

# Plain names (columns.plain), the most telling first.
STAY = ("id", "stayid", "icustayid", "patientunitstayid", "encounterid", "visitid", "hadmid")
STAY += ("admissionid", "episodeid", "recordid", "caseid", "seriesid", "sampleid", "stay", "case")
PATIENT = ("subjectid", "patientid", "subject", "patient", "pid", "mrn", "uniquepid")
TIME = ("time", "charttime", "timestamp", "datetime", "hours", "hour", "minutes", "minute")
TIME += ("seconds", "second", "offset", "observationoffset", "days", "day", "date", "t")
VARIABLE = ("variable", "variablename", "parameter", "param", "item", "itemid", "itemname", "code")
VARIABLE += ("channel", "signal", "measurement", "feature", "vital", "test", "name")
VALUE = ("value", "valuenum", "numericvalue", "result", "reading", "val")
STATIC = ("age", "sex", "gender", "height", "weight", "bmi", "ethnicity", "race", "icutype")
MEDS_EVENTS = {"subject_id", "time", "code", "numeric_value"}
ROLES = ("id", "time", "label", "subject", "variable", "value")  # of columns


@dataclass(frozen=True)
class _Seen:
    """A table and its columns."""

    table: TableFile
    columns: Mapping[str, Column]

    def find(self, wanted: Sequence[str]) -> str | None:
        return named(list(self.columns), wanted)

    @property
    def time(self) -> str | None:
        found = self.find(TIME)
        starts = (c for c in self.columns if plain(c).startswith("time"))
        return found or next(starts, None)


def propose_table(paths: Sequence[Path], given: Mapping[str, Any]) -> Proposal:
    """What the table says about itself.

    Args:
        paths: the series, and where they stand apart the labels, in either order.
        given: keys of `data.table` that the user named; they are not looked for.

    Raises:
        DataError: a role has no column, or the column that has its name cannot play it; one
            sentence that names the key to give.
    """
    tables = [open_table(path, key="your file") for path in paths]
    if meds := [table.path for table in tables if MEDS_EVENTS <= set(table.columns)]:
        raise DataError(
            f"{meds[0]}: MEDS events, whose windows end at the prediction times of labels; nothing "
            "is proposed for them. Write a YAML with `experiment: NAME` and give data=meds "
            "data.meds.folder=, data.meds.labels= and data.meds.mapping= to stage 1, as "
            "docs/data.md shows"
        )
    with open_engine(memory_limit="1GB", threads=0, source=paths[0]) as engine:
        for table in tables:
            require_all_rows(engine, table)
        seen = [_Seen(table, look(engine, table)) for table in tables]
        series = next((s for s in seen if s.time or given.get("time") in s.columns), seen[0])
        labels = next((s for s in seen if s is not series), series)
        return _Search(engine, series, labels, given).proposed()


@dataclass(frozen=True)
class _Search:
    """Series and labels, which may be one table, and what the user said about them."""

    engine: Engine
    series: _Seen
    labels: _Seen
    given: Mapping[str, Any]

    def proposed(self) -> Proposal:
        """The section and what is told about it."""
        series, labels, given = self.series, self.labels, self.given
        self._require_given()
        roles = self._roles()
        for seen in (series, labels):
            require_clear_ids(self.engine, seen.table, roles["id"])
        own = [name for name in labels.columns if name not in roles.values()]
        constant = constant_within(self.engine, labels.table, roles["id"], own)
        label, counts = find_label(
            self.engine, labels.table, given.get("label"), key=roles["id"], constant=constant
        )
        section: dict[str, Any] = {"series": str(series.table.path.absolute())}
        if labels is not series:
            section["labels"] = str(labels.table.path.absolute())
        section |= {"layout": "long" if "variable" in roles else "wide"} | roles | {"label": label}
        proposal = Proposal({"source": "table"})
        static = [c for c, one in constant.items() if one and c != label and plain(c) in STATIC]
        static = given.get("static", [c for c in static if self._is_static(c, proposal)])
        section |= {"static": list(static)} if static else {}
        self._tell_columns(proposal, section)
        section["channels"] = self._channels(proposal, section)
        if classes := tell_classes(proposal, label, counts, given.get("classes")):
            section["classes"] = classes
        if not given.get("decimal") and self._has_decimal_commas():
            section["decimal"] = ","
            proposal.understood["decimal sign"] = "comma"
        form = TableForm(
            series=section["series"],
            id=roles["id"],
            time=roles["time"],
            decimal=given.get("decimal") or section.get("decimal", "."),
            start=given.get("start"),
            end=given.get("end"),
        )
        unit = find_timing(
            self.engine,
            series.table,
            form,
            given.get("time_unit"),
            proposal,
            variable=section.get("variable"),
            labels=labels.table,
        )
        section |= {"time_unit": unit} if unit else {}
        proposal.data |= shares(sum(counts.values())) | {"table": section}
        return proposal

    def _require_given(self) -> None:
        """Raises DataError if a column that the user named is not there."""
        files = {seen.table.path.name: seen.columns for seen in (self.series, self.labels)}
        for role in ROLES:
            name = self.given.get(role)
            if name is not None and not any(name in columns for columns in files.values()):
                there = "; ".join(f"{file} has {few(columns)}" for file, columns in files.items())
                raise DataError(f"data.table.{role}={name}: there is no such column; {there}")

    def _roles(self) -> dict[str, str]:
        """id, time and, of a long table, variable and value; the patient if named apart."""
        series, labels, given = self.series, self.labels, self.given
        both = [c for c in series.columns if c in labels.columns]
        key = given.get("id") or self._key(both)
        if key is None and labels is not series and len(both) == 1:
            key = both[0]
        if not both:
            raise DataError(
                f"{series.table.path.name} ({few(series.columns)}) and {labels.table.path.name} "
                f"({few(labels.columns)}) have no column in common; the id of a series must have "
                "the same name in both"
            )
        time = given.get("time") or series.time
        if key is None or time is None:
            absent = [] if key else ["the id of a series: data.table.id=COLUMN"]
            absent += [] if time else ["a time: data.table.time=COLUMN"]
            shared = time is not None and labels is not series
            where = "both files" if shared else str(series.table.path)
            there = few(both if shared else series.columns)
            raise DataError(
                f"{where}: no column looks like {', none like '.join(absent)} (there are {there})"
            )
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

    def _key(self, both: Sequence[str]) -> str | None:
        """The column of ids: the most telling that some rows share; a number of the row is none."""
        names = [name for word in (*STAY, *PATIENT) if (name := named(both, (word,)))]
        for name in names:
            cell = text_sql(identifier(name))
            rows = self.engine.rows(
                f"SELECT count({cell}) > count(DISTINCT {cell}) FROM {self.series.table.scan}"
            )
            if rows[0][0]:
                return name
        return next(iter(names), None)

    def _is_static(self, name: str, proposal: Proposal) -> bool:
        """Whether the reader takes a column as a static covariate; else it is told."""
        column = self.labels.columns[name]
        if max(column.numbers, column.comma_numbers) == column.filled:
            return True
        cell = f"lower({text_sql(identifier(name))})"
        levels, numbers = self.engine.rows(
            f"SELECT count(DISTINCT {cell}), count({cell}) = count(*) FILTER "
            f"(regexp_full_match({cell}, {quoted(OPEN_END)})) FROM {self.labels.table.scan}"
        )[0]
        if numbers or levels <= MAX_LEVELS:
            return True
        proposal.decide.append(
            f"`{name}` has {levels:,} different texts, so it is left out; a static covariate has "
            f"numbers or at most {MAX_LEVELS} categories (data.table.static)"
        )
        return False

    def _has_decimal_commas(self) -> bool:
        """Whether numbers are written with a comma.

        Raises:
            DataError: the commas may separate thousands.
        """
        where = self.series.table.path
        columns = [c for seen in (self.series, self.labels) for c in seen.columns.values()]
        commas = next((c for c in columns if c.is_numeric and c.commas), None)
        if commas is None:
            return False
        if points := next((c for c in columns if c.is_numeric and c.points), None):
            raise DataError(
                f"{where}: `{commas.name}` has numbers with a comma (first {commas.comma_cell!r}), "
                f"`{points.name}` with a point. Take thousands separators out; of decimal signs "
                "write one kind"
            )
        if all(c.thousands == c.commas for c in columns if c.is_numeric):
            raise DataError(
                f"{where}: every comma of `{commas.name}` stands before three digits (first "
                f"{commas.comma_cell!r}). Take thousands separators out; if they are decimal "
                "signs, say data.table.decimal=','"
            )
        return True

    def _channels(self, proposal: Proposal, section: Mapping[str, Any]) -> list[str]:
        """The variables of a long table, or the numeric columns of a wide one that change."""
        series, labels, given = self.series, self.labels, self.given
        taken = {section.get(name) for name in ("id", "time", "label", "subject")}
        if section["layout"] == "long":
            taken |= {section["variable"], section["value"]}
            cell = name_sql(identifier(section["variable"]))
            rows = self.engine.rows(
                f"SELECT DISTINCT {cell} FROM {series.table.scan} WHERE {cell} IS NOT NULL"
            )
            values = series.columns[section["value"]]
            numeric = [values] if values.is_numeric else []
            found = sorted(str(row[0]) for row in rows) if numeric else []
        else:
            every = {k: c for k, c in series.columns.items() if k not in taken and c.is_numeric}
            same = constant_within(
                self.engine, series.table, section["id"], every, only_repeated=True
            )
            numeric = [column for name, column in every.items() if not same[name]]
            found = [column.name for column in numeric]
            if len(found) == 1 and given.get("layout") != "wide":
                self._require_no_variable(section["id"], found[0], taken)
        channels = given.get("channels") or self._varying(found, section, proposal)
        if not channels:
            raise DataError(
                f"{series.table.path}: no column of numbers that change within a series "
                f"({few(series.columns)}); a table needs measurements, one column each or as "
                "variable and value"
            )
        unnamed = "" if any(map(unit_of, channels)) else "; no units named"
        proposal.understood["channels"] = f"{len(channels)}: {few(channels)}{unnamed}"
        for column in numeric:
            bad = column.filled - max(column.numbers, column.comma_numbers)
            if bad and not given.get("drop_unreadable"):
                proposal.decide.append(
                    f"{bad:,} cells of `{column.name}` are no numbers, first {column.odd!r}: "
                    "stage 1 refuses them unless data.table.drop_unreadable=true"
                )
        used = taken | set(channels) | set(section.get("static", []))
        left = [name for seen in (series, labels) for name in seen.columns if name not in used]
        if left:
            how = "data.table.static=[...]"
            if not any(name in labels.columns for name in left):
                how = f"copied into {labels.table.path.name} and named in {how}"
            proposal.understood["not used"] = few(dict.fromkeys(left)) + (
                f"; as static covariates, if known at time zero: {how}"
            )
        return list(channels)

    def _require_no_variable(self, key: str, value: str, taken: Set[Any]) -> None:
        """Raises DataError if the texts of a column change within a series beside one column of
        numbers: as of a long table, whose variables would be averaged."""
        columns = self.series.columns.items()
        texts = [name for name, c in columns if name not in taken and c.filled and not c.is_numeric]
        same = constant_within(self.engine, self.series.table, key, texts, only_repeated=True)
        if variable := next((name for name in texts if not same[name]), None):
            raise DataError(
                f"{self.series.table.path}: `{variable}` changes within a series beside one column "
                f"of numbers, `{value}`. If it names what was measured, this is a long table: "
                f"data.table.variable={variable} data.table.value={value}; if not, "
                "data.table.layout=wide"
            )

    def _varying(
        self, found: Sequence[str], section: Mapping[str, Any], proposal: Proposal
    ) -> list[str]:
        """The channels with two numbers or more; the others are told."""
        table = self.series.table
        if section["layout"] == "long":
            counts = numbers_of(self.engine, table, section["variable"], section["value"])
        else:
            counts = numbers_in(self.engine, table, found)
        same = [name for name in found if counts[name] < 2]
        if same:
            proposal.understood["left out"] = f"{few(same)}: never changes, so it is no channel"
        return [name for name in found if name not in same]

    def _tell_columns(self, proposal: Proposal, section: Mapping[str, Any]) -> None:
        tell = proposal.understood
        tell["series"] = f"{self.series.table.path.name}, a {section['layout']} table"
        if self.labels is not self.series:
            tell["labels in"] = self.labels.table.path.name
        tell["id"] = f"`{section['id']}`"
        if "subject" in section:
            tell["patient"] = f"`{section['subject']}`: no patient is in two splits"
        elif plain(section["id"]) not in PATIENT:
            proposal.decide.append(
                f"no column names the patient, so every `{section['id']}` counts as one; if "
                "patients have several, name theirs with data.table.subject=COLUMN"
            )
        if section["layout"] == "long":
            tell["values"] = f"`{section['value']}` of `{section['variable']}`"
        if "static" in section:
            tell["static covariates"] = few(section["static"])
