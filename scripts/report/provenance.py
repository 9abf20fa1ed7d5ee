"""What the numbers rest on: data, sets, settings, code. Enough to make every number again."""

from scripts.report.page import Section
from scripts.results.results import Results
from scripts.results.tables import Table

SETTINGS = "All settings"  # the title of that document


def provenance_sections(results: Results) -> list[Section]:
    """The data card and those of the sets, and the record of how this page came about."""
    cards = {title: text for title, text in results.documents.items() if title != SETTINGS}
    text = "Who is in the data, how it was split, and how each set was made."
    if results.absent:
        text += f" Without a card: {', '.join(results.absent)}."
    facts = results.provenance
    counts = [
        [name, f"{sum(per_class):,}", *(f"{count:,}" for count in per_class)]
        for kind in ("real_series_per_class", "synthetic_series_per_class")
        for name, per_class in facts[kind].items()
    ]
    record = [["experiment", facts["experiment"]]]
    record += [[what, value] for what, value in results.made_with.items()]
    return [
        Section(
            "Data",
            [text],
            tables=[Table("Series", ["set", "series", *facts["label_names"]], counts)],
            details=cards,
        ),
        Section(
            "Provenance",
            ["Equal fingerprints mean equal content. These and the settings make the page again."],
            tables=[Table("How this page was made", ["what", "value"], record)],
            details={k: v for k, v in results.documents.items() if k == SETTINGS},
        ),
    ]
