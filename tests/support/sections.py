"""Sections of the configuration, as readers get them, with the schema's defaults."""

from dataclasses import fields, replace
from typing import Any

from configs.schema.experiment import DataConfig
from data_preprocess.sources.registry import Settings


def read(reader: Any, source: str, **changes: Any) -> Any:
    """`reader` on the section `data.<source>` and the shared settings, with `changes` to either."""
    shared = {field.name for field in fields(Settings)}
    common = {name: value for name, value in changes.items() if name in shared}
    own = {name: value for name, value in changes.items() if name not in shared}
    settings = Settings(**({"memory_limit": "500MB", "threads": 1} | common))
    return reader(replace(getattr(DataConfig(), source), **own), settings)
