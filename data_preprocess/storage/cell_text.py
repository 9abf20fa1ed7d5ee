"""What the text of a table's cell means, as SQL: missing, a number, an id, a code, a time.

One spelling list for all readers, so that "NA", "none" or an empty cell never becomes a class, a
patient or a number, and 7, 7.0 and 007 are one id. What cannot be read is NULL (or NaN, where the
caller counts it); nothing is cast by hope.
"""

from collections.abc import Mapping, Sequence

from data_preprocess.storage.table_file import quoted

MISSING = (
    *("", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "nil", "missing", "-", "."),
    "?",
)
YES = ("1", "1.0", "true", "t", "yes", "y")
NO = ("0", "0.0", "false", "f", "no", "n")
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
# Numbers in the ways that exports write one id: 7, 7.0, 007.
_WHOLE = r"(-?)0*([0-9]+?)(\.0*)?"
_DATE = r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}"
_TIME = r"[ T][0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?"
STAMP = f"{_DATE}({_TIME})?"
ZONED_STAMP = f"{_DATE}{_TIME} ?(Z|UTC|GMT|[+-][0-9]{{2}}(:?[0-9]{{2}})?)"


def text_sql(column: str) -> str:
    """The text of an SQL expression without surrounding space; NULL where it says "missing"."""
    text = f"trim({column}::VARCHAR, ' \t\r\n\u00a0')"
    return f"(CASE WHEN lower({text}) NOT IN ({_listed(MISSING)}) THEN {text} END)"


def name_sql(column: str) -> str:
    """The text of a cell that names something; NULL where it is empty. "Na" is sodium."""
    return f"nullif(trim({column}::VARCHAR, ' \t\r\n\u00a0'), '')"


def number_sql(column: str, *, decimal: str = ".") -> str:
    """The number in a cell; NULL if it is missing, NaN if it is there and no finite number.

    Args:
        decimal: the only decimal sign that text is read with; cells of a type have their own.
    """
    text = text_sql(column)
    pattern = NUMBER.replace(r"\.", f"[{decimal}]")
    plain = text if decimal == "." else f"replace({text}, {quoted(decimal)}, '.')"
    found = (
        f"(CASE WHEN {text} IS NULL THEN NULL WHEN regexp_full_match({text}, {quoted(pattern)}) "
        f"AND isfinite(TRY_CAST({plain} AS DOUBLE)) THEN TRY_CAST({plain} AS DOUBLE) "
        "ELSE 'nan'::DOUBLE END)"
    )
    if decimal == ".":
        return found
    return f"(CASE WHEN typeof({column}) = 'VARCHAR' THEN {found} ELSE {number_sql(column)} END)"


def truth_or_number_sql(column: str, *, decimal: str = ".") -> str:
    """As `number_sql`; true is 1 and false 0, as a BOOLEAN or in words."""
    word = f"lower({text_sql(column)})"
    return (
        f"(CASE WHEN {word} IN ('true', 'false') THEN ({word} = 'true')::INTEGER::DOUBLE "
        f"ELSE {number_sql(column, decimal=decimal)} END)"
    )


def id_sql(column: str) -> str:
    """An id as text: whole numbers without leading zeros and without ".0"; NULL if missing."""
    text = text_sql(column)
    return (
        f"(CASE WHEN regexp_full_match({text}, {quoted(_WHOLE)}) "
        f"THEN regexp_replace({text}, {quoted(f'^{_WHOLE}$')}, '\\1\\2') ELSE {text} END)"
    )


def code_sql(column: str, codes: Mapping[int, Sequence[str]]) -> str:
    """The code whose spellings (lower case) hold the cell; NULL if none does."""
    text = f"lower({text_sql(column)})"
    cases = " ".join(
        f"WHEN {text} IN ({_listed(words)}) THEN {code}" for code, words in codes.items()
    )
    return f"(CASE {cases} END)"


def unknown_code_sql(column: str, codes: Mapping[int, Sequence[str]]) -> str:
    """The cell where it is neither missing nor a known code, else NULL."""
    return f"(CASE WHEN {code_sql(column, codes)} IS NULL THEN {text_sql(column)} END)"


def stamp_sql(column: str) -> str:
    """A time stamp without zone, as TIMESTAMP; NULL if it is missing or written otherwise."""
    text = text_sql(column)
    return (
        f"(CASE WHEN regexp_full_match({text}, {quoted(STAMP)}) "
        f"THEN TRY_CAST({text} AS TIMESTAMP) END)"
    )


def _listed(words: Sequence[str]) -> str:
    return ", ".join(quoted(word) for word in words)
