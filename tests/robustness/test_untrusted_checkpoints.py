"""Checkpoints of unknown origin: nothing they name is run, no size they claim is believed."""

import errno
import io
import zipfile

import pytest
import torch

from classifier.checkpoint import ClassifierFacts, load_classifier, save_classifier
from classifier.checkpoint_validation import require_length
from configs.runtime.errors import ConfigError, DataError, UserError
from configs.runtime.torch_files import load_plain, save_plain
from data_preprocess.model_space.normaliser import Normaliser
from tardiff.networks.unet1d import UNet1D
from tardiff.training.checkpoint import MARKS, load_model

pytestmark = pytest.mark.usefixtures("little_memory")


def test_a_checkpoint_that_unpacks_beyond_its_size_is_refused(tmp_path):
    packed = io.BytesIO()
    torch.save(torch.zeros(1 << 22), packed)
    with (
        zipfile.ZipFile(packed) as stored,
        zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in stored.namelist():
            bomb.writestr(name, stored.read(name))
    with pytest.raises(DataError, match="claim to unpack"):
        load_plain(tmp_path / "x.pt", "model")


def test_torchs_older_formats_are_not_read(tmp_path):
    torch.save({"a": 1}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match="not a model"):
        load_plain(tmp_path / "x.pt", "model")


def facts(make_dataset, **changes):
    train = make_dataset()
    fields = {
        "model_path": "rnn",
        "model_args": {"hidden": 4, "layers": 1},
        "feature_names": train.feature_names,
        "label_names": train.label_names,
        "length": train.length,
        "normaliser": Normaliser.fit(train),
        "data_fingerprint": "abc",
        "settings": {},
        "scores": {},
    }
    return ClassifierFacts(**(fields | changes))


def test_a_checkpoint_cannot_choose_what_is_imported(tmp_path, make_dataset, monkeypatch):
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "best.ckpt"
    stranger = facts(make_dataset, model_path="evil_module:Net", model_args={})
    save_classifier(path, torch.nn.Linear(2, 2), stranger)
    for allow in (None, "rnn", "evil_module:Other"):
        with pytest.raises(DataError, match="importing it would run its code"):
            load_classifier(path, allow=allow)
    assert not (tmp_path / "made").exists()
    with pytest.raises(ConfigError, match="no nn.Module class"):
        load_classifier(path, allow="evil_module:Net")  # the user's own choice is imported
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "arguments",
    [{"hidden": 1 << 30}, {"layers": 1 << 30}, {"hidden": 4000, "layers": 20}, {"cell": "none"}],
)
def test_a_classifier_of_terabytes_is_not_built(tmp_path, make_dataset, arguments):
    path = tmp_path / "best.ckpt"
    save_classifier(path, torch.nn.Linear(2, 2), facts(make_dataset, model_args=arguments))
    with pytest.raises(UserError):
        load_classifier(path)


ARGS = {
    "in_channels": 2,
    "num_classes": 2,
    "width": 8,
    "multipliers": [1],
    "blocks_per_level": 1,
    "heads": 2,
    "patch": 2,
}


def model_file(path, change):
    content = {
        **MARKS,
        "network_args": {"kind": "unet"} | ARGS,
        "state_dict": UNet1D(**ARGS).state_dict(),
        "prediction": "v",
        "level_table": None,
        "with_guide": False,
        "length": 4,
        "normaliser": "n",
        "data_fingerprint": "d",
        "val_loss": 1.0,
        "step": 1,
        "feature_names": ["a", "b"],
        "label_names": ["c", "d"],
    }
    change(content)
    save_plain(path, content)


def _first(content, change):
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] = change(content["state_dict"][name])


DAMAGES = [
    lambda c: c.pop("network_args"),
    lambda c: c.pop("step"),
    lambda c: c.update(state_dict=[1]),
    lambda c: c["network_args"].update(width=1 << 40),
    lambda c: c["network_args"].update(width=4096),
    lambda c: c["network_args"].update(multipliers=[1] * 1000),
    lambda c: c["network_args"].update(other=1),
    lambda c: c["network_args"].update(kind="os:system"),
    lambda c: c["network_args"].update(kind="torch.nn.Linear"),
    lambda c: c["network_args"].update(kind=["unet"]),
    lambda c: c["network_args"].update(kind="published_unet"),
    lambda c: c["network_args"].update(heads=0),
    lambda c: c["network_args"].update(heads=3),
    lambda c: c["network_args"].update(patch=0),
    lambda c: c["network_args"].update(patch=1 << 40),
    lambda c: c["network_args"].update(width=4096, blocks_per_level=64),
    lambda c: c.update(network_args=[1]),
    lambda c: _first(c, lambda w: w[:1]),
    lambda c: _first(c, lambda w: torch.zeros(1).expand(w.shape)),
    lambda c: _first(c, lambda w: w * float("nan")),
]


@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_diffusion_models_of_other_shapes_are_refused(tmp_path, number):
    model_file(tmp_path / "model.pt", lambda c: None)
    load_model(tmp_path / "model.pt", "train")
    model_file(tmp_path / "model.pt", DAMAGES[number])
    with pytest.raises(DataError, match=r"model\.pt"):
        load_model(tmp_path / "model.pt", "train")


def test_a_model_of_another_version_needs_its_whole_folder_anew(tmp_path):
    """Whatever stands beside it: its training is over, so nothing can go on with it."""
    model_file(tmp_path / "model.pt", lambda c: c.update(format="tardiff-diffusion-1"))
    (tmp_path / "last.ckpt").touch()
    (tmp_path / "settings.json").write_text("{broken")
    with pytest.raises(DataError, match="again with: train after removing the whole of") as error:
        load_model(tmp_path / "model.pt", "train")
    assert "stopped" not in str(error.value)


def test_a_model_that_memory_cannot_hold_is_not_called_damaged(tmp_path, monkeypatch):
    def network(arguments):
        raise MemoryError

    model_file(tmp_path / "model.pt", lambda c: None)
    monkeypatch.setattr("tardiff.training.checkpoint.build_network", network)
    with pytest.raises(MemoryError):
        load_model(tmp_path / "model.pt", "train")


def test_a_table_of_contents_that_points_before_the_file_is_no_error_of_the_disk(
    tmp_path, monkeypatch
):
    def fails(number):
        def load(*_, **__):
            raise OSError(number, "words of the system")

        return load

    torch.save({"a": torch.zeros(2)}, tmp_path / "x.pt")
    monkeypatch.setattr(torch, "load", fails(errno.EINVAL))
    with pytest.raises(DataError, match="not a model of this project"):
        load_plain(tmp_path / "x.pt", "model")
    with zipfile.ZipFile(tmp_path / "cut.pt", "w") as archive:  # an index of a memo that ends early
        archive.writestr("x/data.pkl", b"\x80\x02}r\x01")
        archive.writestr("x/version", b"3\n")
    monkeypatch.undo()
    with pytest.raises(DataError, match="not a model of this project"):
        load_plain(tmp_path / "cut.pt", "model")
    monkeypatch.setattr(torch, "load", fails(errno.EIO))
    with pytest.raises(OSError, match="words of the system"):
        load_plain(tmp_path / "x.pt", "model")


@pytest.mark.parametrize("length", [0, -1, 100_001, "24", None])
def test_a_length_of_a_file_is_one(tmp_path, length):
    require_length(tmp_path, 5000)
    with pytest.raises(DataError, match="expected 1 to 100,000"):
        require_length(tmp_path, length)
