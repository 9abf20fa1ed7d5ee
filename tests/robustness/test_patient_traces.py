"""All stages and the influence report on stays with marked ids and values: no output, log or error
holds a mark, and none holds a stay's series as it is."""

import logging
import struct
import zipfile

import numpy as np
import pytest
import torch

from classifier.train import main as train_classifier
from configs import load_config
from configs.runtime.errors import UserError
from configs.runtime.torch_files import save_plain
from data_preprocess.build import load_splits
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import encode
from data_preprocess.storage.dataset_files import save_dataset
from scripts.evaluate import main as evaluate
from scripts.influence_report.__main__ import main as influence_report
from tardiff.generate import main as generate
from tardiff.train import main as train_diffusion

FIRST_ID = 7_310_052_000  # ids are 7310052000, ...: no other number begins so
MARK = 0.31415926  # inside the range, so that it is no minimum, maximum or knot


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    root = tmp_path_factory.mktemp("marked")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 3, 8)).astype(np.float32)
    labels = (values.mean(axis=(1, 2)) > 0.1).astype(np.int64)
    values[:, 1, 3] = MARK  # in every stay of every split
    dataset = EHRDataset(
        values=values,
        observed=np.ones(values.shape, bool),
        labels=labels,
        subject_ids=FIRST_ID + np.arange(200),
        feature_names=("a[x]", "b[y]", "c[z]"),
        label_names=("no", "yes"),
        static=np.zeros((200, 0), np.float32),
        static_names=(),
    )
    save_dataset(root / "own.npz", dataset)
    return root, [
        "configs/base/tiny.yaml",
        "data.source=files",
        f"data.files.train={root}/own.npz",
        f"runs_dir={root}/runs",
        f"data.dir={root}/data",
        f"classifier.checkpoint_dir={root}/classifier",
        "accelerator=cpu",
        "influence_report.guide_sizes=[10]",
        "influence_report.step_rows=20",
        "evaluation.workers=1",
    ]


def contents(root):
    """(name, bytes) of every output, the members of archives unpacked."""
    for folder in ("runs", "classifier"):
        for path in (root / folder).rglob("*"):
            if path.is_file() and zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    yield from ((f"{path}:{n}", archive.read(n)) for n in archive.namelist())
            elif path.is_file():
                yield str(path), path.read_bytes()


def marks():
    ids = [FIRST_ID + n for n in range(200)]
    texts = [str(FIRST_ID)[:7].encode(), f"{MARK:.5f}"[:-1].encode()]
    numbers = [struct.pack("<d", np.float32(MARK)), struct.pack("<f", MARK)]
    return texts + [struct.pack("<q", n) for n in ids] + numbers


def traces(seen, patterns):
    """Which of the patterns stand in which of the outputs."""
    return [(name, mark) for name, raw in seen.items() for mark in patterns if mark in raw]


def stays(arguments):
    """One channel of every stay of every split, as float32 bytes, clinical and model units."""
    splits = load_splits(load_config(arguments).data)
    for name in ("train", "val_guide", "val_select", "test"):
        values = getattr(splits, name).values
        for rows in (values, encode(splits.normaliser, getattr(splits, name)).numpy()):
            yield from (row[0].astype("<f4").tobytes() for row in rows)


STAGES = (train_diffusion, train_classifier, generate, evaluate, influence_report)


def test_no_output_and_no_log_holds_an_id_or_a_stay(marked, caplog, capfd):
    root, arguments = marked
    caplog.set_level(logging.DEBUG)
    config = load_config(arguments)
    for stage in STAGES:
        stage(config)
    seen = dict(contents(root))
    assert {"influence_report", "evaluation", "synthetic", "diffusion"} <= {
        part for name in seen for part in name.split("/")
    }
    out, err = capfd.readouterr()
    seen |= {"log": caplog.text.encode(), "stdout": out.encode(), "stderr": err.encode()}
    assert len(seen) > 20
    assert not traces(seen, marks())
    rows = list(stays(arguments))
    assert len(rows) == 400 and not traces(seen, rows)
    # The search does find marks where they belong: in the splits, which are the patients' data.
    with zipfile.ZipFile(root / "data" / "train.npz") as archive:
        train = archive.read("values.npy") + archive.read("subject_ids.npy")
    assert any(mark in train for mark in marks()[2:-2]) and marks()[-1] in train
    assert any(row in train for row in rows)


PLANTS = {
    "text": lambda path, values: path.write_text(f"patient {FIRST_ID + 7}"),
    "array": lambda path, values: np.savez_compressed(path, ids=np.array([FIRST_ID + 7])),
    "checkpoint": lambda path, values: save_plain(path, {"x": torch.from_numpy(values[7])}),
}


@pytest.mark.parametrize(
    ("kind", "suffix"), [("text", "md"), ("array", "npz"), ("checkpoint", "pt")]
)
def test_a_trace_in_any_kind_of_file_is_found(tmp_path, kind, suffix):
    (tmp_path / "runs").mkdir()
    values = np.random.default_rng(0).normal(size=(20, 3, 8)).astype(np.float32)
    PLANTS[kind](tmp_path / "runs" / f"x.{suffix}", values)
    assert traces(dict(contents(tmp_path)), [*marks(), values[7, 0].tobytes()])


def test_errors_about_the_splits_name_no_patient(marked):
    root, arguments = marked
    other = [*arguments, f"data.files.test={root}/own.npz", f"data.dir={root}/twice"]
    with pytest.raises(UserError) as caught:
        train_diffusion(load_config(other))
    assert "patient" in str(caught.value)
    assert str(FIRST_ID)[:7] not in str(caught.value)
