"""What a trained model is known by: other settings are refused, new keys at their defaults not."""

import dataclasses

import pytest

from configs import load_config
from configs.run_record import read_mapping, write_mapping
from configs.runtime.errors import ConfigError, MismatchError, UserError
from tardiff.networks import registry
from tardiff.networks.registry import network_arguments, network_class
from tardiff.train import main
from tests.support.tiny_runs import tiny_arguments

PRIVATE = (
    "diffusion.private.epsilon=8",
    "diffusion.class_balanced=false",
    "diffusion.marginal_rows=0",
)
SHORT = ("diffusion.width=8", "diffusion.max_steps=2", "diffusion.val_every=2")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    main(load_config(tiny_arguments(folder, *SHORT)))
    return folder


def test_a_key_of_a_later_version_at_its_default_is_no_difference(root):
    """As after an update: `network` was not there, as was `patch`, which the config gives."""
    path = root / "runs/tiny/diffusion/settings.json"
    stored = read_mapping(path)
    section = {k: v for k, v in stored["diffusion"].items() if k not in ("network", "patch")}
    config = load_config(tiny_arguments(root, *SHORT, "diffusion.patch=2"))
    assert config.diffusion.patch == 2  # the default
    write_mapping(path, stored | {"diffusion": section})
    weights = path.with_name("model.pt").read_bytes()
    main(config)
    assert path.with_name("model.pt").read_bytes() == weights
    with pytest.raises(MismatchError, match=r"diffusion\.patch: 2 -> 1"):
        main(load_config(tiny_arguments(root, *SHORT, "diffusion.patch=1")))
    more = load_config(tiny_arguments(root, *SHORT, "diffusion.max_steps=4"))
    main(more)  # raising max_steps goes on, too
    assert read_mapping(path)["diffusion"]["max_steps"] == 4
    write_mapping(path, stored)


@pytest.mark.parametrize(
    ("refused", "then"),
    [
        (("diffusion.max_steps=103", "diffusion.val_every=20"), ("diffusion.max_steps=4",)),
        ((*PRIVATE, "diffusion.batch_size=5000"), (*PRIVATE, "diffusion.batch_size=8")),
    ],
)
def test_a_refused_training_can_be_asked_for_otherwise(tmp_path, refused, then):
    """The number of steps, or of patients a step, is refused before a file holds it."""
    with pytest.raises(UserError, match=r"choose a multiple|lower diffusion\.batch_size"):
        main(load_config(tiny_arguments(tmp_path, *SHORT, *refused)))
    main(load_config(tiny_arguments(tmp_path, *SHORT, *then)))


def test_steps_that_are_refused_leave_the_finished_model(tmp_path):
    arguments = tiny_arguments(tmp_path, *SHORT, "diffusion.val_every=50")
    main(load_config(arguments))
    folder = tmp_path / "runs/tiny/diffusion"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(ConfigError, match="choose a multiple"):  # 101 steps remain, a prime
        main(load_config([*arguments, "diffusion.max_steps=103"]))
    assert {name: (folder / name).read_bytes() for name in before} == before
    main(load_config(arguments))


def test_an_argument_that_the_schema_lacks_leaves_nothing_behind(tmp_path, monkeypatch):
    class Deep(network_class("unet")):
        def __init__(self, in_channels: int, num_classes: int, *, depth: int = 2) -> None:
            super().__init__(in_channels, num_classes)

    monkeypatch.setitem(registry._NETWORKS, "unet", Deep)
    with pytest.raises(ConfigError, match=r"diffusion\.network=unet takes diffusion\.depth"):
        main(load_config(tiny_arguments(tmp_path, *SHORT)))
    assert not (tmp_path / "runs/tiny/diffusion").exists()


def test_an_argument_that_the_schema_does_not_declare_is_named():
    diffusion = load_config(["configs/base/tiny.yaml"]).diffusion
    poor = dataclasses.make_dataclass("Poor", ["network"])(diffusion.network)
    with pytest.raises(ConfigError, match=r"network=unet takes diffusion\.width, .*experiment\.py"):
        network_arguments(poor, in_channels=2, num_classes=2)


def test_a_folder_that_cannot_be_made_is_told_before_data_are_built(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="cannot make folder"):
        main(load_config(tiny_arguments(tmp_path, *SHORT)))
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
