"""What the numbers rest on: data, sets, settings, code. Enough to make every number again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import to_yaml
from configs.run_record import provenance, run_dir
from configs.schema.experiment import ExperimentConfig
from data_preprocess.dataset import EHRDataset
from scripts.quality.suite import fingerprint
from scripts.report.page import Section
from scripts.results.tables import Table

HASH_SHOWN = 16


def provenance_sections(
    config: ExperimentConfig, sets: Mapping[str, EHRDataset], facts: Mapping[str, Any]
) -> list[Section]:
    """The data card, and the record of how this page came about."""
    cards = {"Data card": Path(config.data.dir) / "card.md"}
    folder = run_dir(config) / "synthetic"
    cards |= {f"Card of set {name}": folder / f"{name}.card.md" for name in sets}
    found = {
        name: path.read_text(encoding="utf-8") for name, path in cards.items() if path.is_file()
    }
    absent = [name for name in cards if name not in found]
    text = "Who is in the data, how it was cut, and what each set says about itself."
    if absent:
        text += f" Without a card: {', '.join(absent)}."
    return [
        Section("Data", [text], tables=[_stays(facts)], details=found),
        Section(
            "Provenance",
            ["Equal fingerprints mean equal content; this and the settings make the page again."],
            tables=[_record(config, sets, facts)],
            details={"All settings": to_yaml(config)},
        ),
    ]


def _stays(facts: Mapping[str, Any]) -> Table:
    rows = [
        [name, f"{sum(counts):,}", *(f"{count:,}" for count in counts)]
        for kind in ("real_stays_per_class", "synthetic_stays_per_class")
        for name, counts in facts[kind].items()
    ]
    return Table("Stays", ["set", "stays", *facts["label_names"]], rows)


def _record(
    config: ExperimentConfig, sets: Mapping[str, EHRDataset], facts: Mapping[str, Any]
) -> Table:
    made = provenance()
    code = made["git"].get("commit", "no git checkout")
    code += " with uncommitted changes" if made["git"].get("dirty") else ""
    rows = [
        ["experiment", config.experiment],
        ["finished (UTC)", made["finished"]],
        ["code", code],
        ["Python", made["python"]],
        ["packages", ", ".join(f"{k} {v}" for k, v in made["packages"].items())],
        ["seeds", ", ".join(map(str, config.evaluation.seeds))],
        ["real data, SHA-256", facts["data_fingerprint"][:HASH_SHOWN]],
    ]
    rows += [[f"set {k}, SHA-256", fingerprint(v)[:HASH_SHOWN]] for k, v in sets.items()]
    return Table("How this page was made", ["what", "value"], rows)
