"""find_table: one table of a raw hospital release, as a .csv or .csv.gz file in its folder.

Every column is read as text and cast where it is used, after the item filter, so the millions of
rows that are not wanted are never parsed.
"""

from collections.abc import Sequence
from pathlib import Path

from configs.runtime.errors import MissingInputError
from data_preprocess.storage.table_file import TableFile, open_table, require_columns


def find_table(
    folder: Path, name: str, needed: Sequence[str], *, subfolders: Sequence[str] = (".",)
) -> TableFile:
    """The table `name` in `folder`, as .csv.gz (preferred, as released) or .csv, in any case.

    Args:
        needed: columns that must be there, lower case.
        subfolders: places below `folder` to look in, first to last.

    Raises:
        MissingInputError: no such folder or file.
        DataError: the file is empty, not gzip, cut off in the header, or lacks a column.
    """
    if not folder.is_dir():
        raise MissingInputError(
            f"folder {folder.absolute()} does not exist; expected the folder of the release that "
            f"holds {name}.csv.gz"
        )
    table = open_table(_locate(folder, name, subfolders), key=name, lower=True)
    require_columns(table, list(needed), f"is this really the table {name}?")
    return table


def _locate(folder: Path, name: str, subfolders: Sequence[str]) -> Path:
    places = [folder / sub for sub in subfolders if (folder / sub).is_dir()]
    for suffix in (".csv.gz", ".csv"):
        for place in places:
            for path in sorted(place.iterdir()):
                if path.name.lower() == name.lower() + suffix and path.is_file():
                    return path
    looked = ", ".join(str(place) for place in places) or str(folder)
    raise MissingInputError(
        f"{name}.csv.gz (or .csv) is not in {looked}; download it from PhysioNet, where a full "
        "release needs credentialed access and the demo does not"
    )
