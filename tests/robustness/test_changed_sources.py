"""Kind C: a source that changed under its name is noticed, and later stages need none."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.runtime.errors import MismatchError
from configs.schema.data_sources import FilesConfig, MedformerConfig, TableConfig
from configs.schema.experiment import DataConfig
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.storage import source_files
from data_preprocess.storage.source_files import changed_files, describe_files
from tests.support.medformer_folder import medformer
from tests.support.small_tables import labels, long, store

few = settings(max_examples=10, deadline=None)


def own_data(tmp_path: Path, kind: str) -> tuple[DataConfig, list[Path]]:
    shared = {"dir": str(tmp_path / "built"), "val_guide": 0.2, "val_select": 0.2}
    rng = np.random.default_rng(0)
    values, classes = rng.normal(80, 5, (60, 2, 6)), np.arange(60) % 2
    if kind == "table":
        many = pd.concat([long(id=long().id + 6 * k) for k in range(10)])
        many["value"] += rng.normal(0, 1, len(many)).round(3)
        outcome = pd.concat([labels(id=labels().id + 6 * k) for k in range(10)])
        x, y = (
            store(tmp_path / "t" / "x.csv", many),
            store(tmp_path / "t" / "x_labels.csv", outcome),
        )
        section = TableConfig(series=str(x), labels=str(y))
        return DataConfig(source="table", table=section, window_hours=6.0, **shared), [x, y]
    if kind == "files":
        x, y = tmp_path / "x.npy", tmp_path / "x_labels.npy"
        np.save(x, values), np.save(y, classes)
        return DataConfig(source="files", files=FilesConfig(train=str(x)), **shared), [x, y]
    root = medformer(tmp_path / "m", range(60), [(who % 2, who) for who in range(60)])
    for k in range(60):
        np.save(root / "Feature" / f"feature_{k:02d}.npy", values[k : k + 1].transpose(0, 2, 1))
    section = MedformerConfig(folder=str(root))
    return DataConfig(source="medformer", medformer=section, **shared), [
        root / "Feature" / "feature_07.npy",
        root / "Label" / "label.npy",
    ]


@pytest.mark.parametrize("kind", ["table", "files", "medformer"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_source_replaced_under_its_name_is_noticed(tmp_path, kind, which):
    data, files = own_data(tmp_path, kind)
    assert ensure_built(data) and not ensure_built(data)
    raw = bytearray(files[which].read_bytes())
    raw[-2] ^= 1  # the same size
    files[which].write_bytes(bytes(raw))
    for use in (ensure_built, load_splits):
        with pytest.raises(MismatchError, match=r"built from other content.*data\.rebuild=true"):
            use(data)
    card = (tmp_path / "built" / "card.md").read_text()
    assert "## Source files" in card and "SHA-256" in card


def test_later_stages_need_no_source(tmp_path):
    data, files = own_data(tmp_path, "table")
    ensure_built(data)
    for file in files:
        file.unlink()
    assert len(load_splits(data).train)


@pytest.mark.parametrize("kind", ["table", "files", "medformer"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_source_that_moved_is_the_same_until_it_changes(tmp_path, kind, which):
    (tmp_path / "old").mkdir()
    data, files = own_data(tmp_path / "old", kind)
    ensure_built(data)
    shutil.move(tmp_path / "old", tmp_path / "new")
    section, built = getattr(data, kind), str(tmp_path / "new" / "built")
    now = {
        key: value.replace(f"{tmp_path}/old", f"{tmp_path}/new")
        for key, value in vars(section).items()
        if isinstance(value, str)
    }
    data = replace(data, dir=built, **{kind: replace(section, **now)})
    assert not ensure_built(data) and len(load_splits(data).train)
    file = tmp_path / "new" / files[which].relative_to(tmp_path / "old")
    raw = bytearray(file.read_bytes())
    raw[-2] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(MismatchError, match=r"data\.rebuild=true"):
        ensure_built(data)


def test_a_large_file_is_read_again_where_its_time_has_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(source_files, "MAX_READ_BYTES", 0)
    path = tmp_path / "x"
    path.write_bytes(b"ab")
    known = describe_files([path])
    path.write_bytes(b"cd")
    os.utime(path, (0, 0))
    assert changed_files(known) == [f"{path} has another SHA-256"]


@few
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_any_change_of_content_is_a_change(tmp_path_factory, contents, data):
    root = tmp_path_factory.mktemp("c")
    for k, content in enumerate(contents):
        (root / str(k)).write_bytes(content)
    known = describe_files([root, root / "0"])
    assert changed_files(known) == []
    other = data.draw(st.binary(max_size=20).filter(lambda raw: raw != contents[0]))
    (root / "0").write_bytes(other)
    assert len(changed_files(known)) == 2
