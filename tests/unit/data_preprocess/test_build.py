"""build: whole or nothing, repeatable, and every way in which built data can be wrong is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs import load_config
from configs.runtime.errors import (
    ConfigError,
    DataError,
    MismatchError,
    MissingInputError,
    UserError,
)
from configs.schema.data_sources import SOURCES, PhysioNet2012Config, SimulatedConfig
from configs.schema.experiment import DataConfig
from data_preprocess import build
from data_preprocess.build import ensure_built, load_splits, main
from data_preprocess.card import LICENCES
from data_preprocess.sources.registry import READERS, Settings, read_source

ROOT = Path(__file__).parents[3]
FILES = {"train.npz", "val_guide.npz", "val_select.npz", "test.npz"}
FILES |= {"normaliser.json", "data.json", "card.md", "true_risk.npz"}
SMALL = SimulatedConfig(num_subjects=150, prevalence=0.2, num_channels=4, num_steps=12)


@pytest.fixture
def data(tmp_path):
    return DataConfig(source="simulated", dir=str(tmp_path / "data" / "small"), simulated=SMALL)


def content(tmp_path):
    return {
        str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()
    }


def test_builds_all_files_then_nothing(data, tmp_path):
    assert ensure_built(data) is True
    folder = tmp_path / "data" / "small"
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["small"]
    before = content(tmp_path)
    assert ensure_built(data) is False and content(tmp_path) == before


def test_splits_are_disjoint_and_share_one_normaliser_fitted_on_train(data):
    ensure_built(data)
    splits = load_splits(data)
    subjects = [set(split.subject_ids.tolist()) for _, split in splits.items()]
    assert sum(map(len, subjects)) == len(set().union(*subjects)) == 150
    train = splits.train
    model = splits.normaliser.to_model(train.values).numpy()
    for channel in range(4):
        measured = model[:, channel][train.observed[:, channel]]
        assert abs(measured.mean()) < 1e-4 and abs(measured.std() - 1) < 1e-3


def test_two_builds_have_one_fingerprint_and_another_seed_another(data, tmp_path):
    ensure_built(data)
    first = load_splits(data)
    elsewhere = replace(data, dir=str(tmp_path / "elsewhere"))
    ensure_built(elsewhere)
    other = replace(data, dir=str(tmp_path / "other"), seed=1)
    ensure_built(other)
    assert load_splits(elsewhere).fingerprint == first.fingerprint
    assert load_splits(other).fingerprint != first.fingerprint


def test_the_record_and_the_card_tell_what_was_built(data, tmp_path):
    ensure_built(data)
    splits = load_splits(data)
    record = json.loads((tmp_path / "data" / "small" / "data.json").read_text())
    assert record["settings"]["simulated.num_subjects"] == 150
    assert "dir" not in record["settings"] and "physionet2012.folder" not in record["settings"]
    assert record["class_counts"]["test"] == splits.test.class_counts.tolist()
    assert record["missing_share"]["train"][0] == pytest.approx(
        1 - splits.train.observed[:, 0].mean(), abs=1e-4
    )
    assert set(record["sha256"]) == FILES - {"data.json"}
    card = (tmp_path / "data" / "small" / "card.md").read_text()
    for text in ("removed", "heart_rate[bpm]", "val_guide", "not for clinical use", "MIT"):
        assert text in card


def test_other_settings_are_named_old_to_new_and_change_nothing(data, tmp_path):
    ensure_built(data)
    before = content(tmp_path)
    changed = replace(data, seed=3, simulated=replace(SMALL, num_subjects=160))
    for use in (ensure_built, load_splits):
        with pytest.raises(
            MismatchError,
            match=r"data.seed: 0 -> 3; data.simulated.num_subjects: 150 -> 160.*data.rebuild=true",
        ):
            use(changed)
    assert content(tmp_path) == before
    assert ensure_built(replace(changed, rebuild=True)) is True
    assert len(np.unique(load_splits(changed).train.subject_ids)) > 0
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"small"}


def test_settings_of_other_sources_do_not_count(data):
    ensure_built(data)
    assert ensure_built(replace(data, physionet2012=PhysioNet2012Config(test_set=None))) is False


def test_a_key_of_an_earlier_version_does_not_count(data):
    ensure_built(data)
    path = Path(data.dir) / "data.json"
    record = json.loads(path.read_text())
    record["settings"]["simulated.no_longer_a_key"] = 2
    path.write_text(json.dumps(record))
    assert ensure_built(data) is False


def test_a_key_that_an_earlier_version_lacked_had_its_default(data):
    ensure_built(data)
    path = Path(data.dir) / "data.json"
    record = json.loads(path.read_text())
    del record["settings"]["simulated.unit_effect"]
    path.write_text(json.dumps(record))
    assert ensure_built(data) is False
    changed = replace(data, simulated=replace(data.simulated, unit_effect=0.5))
    with pytest.raises(MismatchError, match=r"data.simulated.unit_effect: absent -> 0.5"):
        ensure_built(changed)


@pytest.mark.parametrize("first_time", [True, False])
def test_an_interrupted_build_leaves_what_was_there(data, tmp_path, monkeypatch, first_time):
    if not first_time:
        ensure_built(data)
    before = content(tmp_path)
    saved = []

    def interrupted(path, dataset):
        saved.append(path)
        if len(saved) == 3:
            raise KeyboardInterrupt
        build_save(path, dataset)

    build_save = build.save_dataset
    monkeypatch.setattr(build, "save_dataset", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_built(replace(data, rebuild=True))
    assert len(saved) == 3 and content(tmp_path) == before
    assert not list((tmp_path / "data").glob(".*"))


def test_splits_that_are_not_built_name_the_commands(data):
    with pytest.raises(
        MissingInputError,
        match=r"data\.json does not exist.*python -m data_preprocess\.build.*train\.sh.*quickstart",
    ):
        load_splits(data)


@pytest.mark.parametrize("name", sorted(FILES - {"data.json"}))
def test_a_changed_or_missing_file_is_named(data, tmp_path, name):
    ensure_built(data)
    path = tmp_path / "data" / "small" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match=rf"{name} was changed after it was built"):
        load_splits(data)
    path.unlink()
    with pytest.raises(DataError, match=rf"{name} is missing"):
        load_splits(data)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}'])
def test_a_broken_record_is_refused(data, tmp_path, text):
    ensure_built(data)
    (tmp_path / "data" / "small" / "data.json").write_text(text)
    with pytest.raises(DataError, match=r"data\.json: "):
        load_splits(data)


def test_a_folder_with_other_content_is_left_alone(data, tmp_path):
    mine = tmp_path / "data" / "small" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    with pytest.raises(UserError, match="not made by this program and is left alone"):
        ensure_built(replace(data, rebuild=True))
    assert mine.read_text() == "years of work"


def test_a_folder_that_cannot_be_written_is_named(data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write .*small"):
        ensure_built(replace(data, dir=str(tmp_path / "file" / "small")))


def test_a_source_without_reader_is_said_to_be_absent():
    with pytest.raises(UserError, match="data.source=nosuch: no reader registers.*files.*table"):
        read_source("nosuch", None, Settings())


def test_every_source_of_the_schema_has_a_reader_and_a_licence():
    with pytest.raises(UserError):
        read_source("", None, Settings())
    assert set(READERS) == set(SOURCES) == set(LICENCES)


def test_sizes_in_stays_win_over_shares(data):
    sized = replace(data, train_size=40, guide_size=21, select_size=13)
    ensure_built(sized)
    splits = load_splits(sized)
    sizes = [len(splits.train), len(splits.val_guide), len(splits.val_select)]
    assert sizes == [40, 21, 13]
    with pytest.raises(DataError, match="train split: 4000 stays wanted but only.*data.train_size"):
        ensure_built(replace(sized, train_size=4000, rebuild=True))


def test_unused_tasks_are_refused(data):
    with pytest.raises(ConfigError, match="icustay"):
        ensure_built(replace(data, task="icustay"))


def test_main_builds_what_the_tiny_config_says(tmp_path, caplog):
    caplog.set_level("INFO")
    config = load_config([str(ROOT / "configs/base/tiny.yaml"), f"data.dir={tmp_path / 'tiny'}"])
    main(config)
    main(config)
    assert "built:" in caplog.text and "already built with these settings" in caplog.text
    assert load_splits(config.data).train.values.shape[1:] == (4, 12)


def test_physionet_builds_with_set_b_as_test(open_data, tmp_path):
    config = load_config(
        [
            str(ROOT / "configs/base/physionet2012_mortality.yaml"),
            f"data.dir={tmp_path / 'p'}",
            f"data.physionet2012.folder={open_data / 'physionet2012'}",
        ]
    )
    ensure_built(config.data)
    splits = load_splits(config.data)
    assert splits.test.class_counts.tolist() == [3374, 557]
    assert len(splits.train) + len(splits.val_guide) + len(splits.val_select) == 3930
    assert splits.train.feature_names[0] == "heart_rate[bpm]" and splits.train.length == 24
