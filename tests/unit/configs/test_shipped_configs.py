"""Every shipped YAML builds its components and states no more than it must."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from classifier.losses import num_outputs
from classifier.models.registry import build_model
from configs import KNOWN, load_config
from tardiff.networks.registry import build_network, network_arguments

YAMLS = sorted((Path(__file__).parents[3] / "configs" / "base").glob("*.yaml"))


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_every_yaml_builds_its_models(path):
    config = load_config([str(path)])
    assert config.experiment == path.stem
    build_network(network_arguments(config.diffusion, in_channels=3, num_classes=2))
    build_model(
        config.classifier.model,
        config.classifier.model_args,
        in_channels=3,
        length=16,
        num_outputs=num_outputs(2),
    )


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_a_yaml_states_its_task_and_what_differs_from_the_defaults(path):
    stated = OmegaConf.load(path)
    found = {key: OmegaConf.select(stated, key, default="not stated") for key in KNOWN}
    defaults = {key for key, value in found.items() if value == KNOWN[key]}
    task = {"source", "task", "los_days", "window_hours", "step_minutes"}
    assert defaults <= {f"data.{key}" for key in task}
