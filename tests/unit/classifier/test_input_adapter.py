"""What a classifier sees of a series: parts, their order, and that gradients reach all of them."""

import numpy as np
import pytest
import torch

from classifier.input_adapter import (
    SeriesInput,
    build_classifier,
    input_parts,
    num_input_channels,
    since_measured,
)
from classifier.models.networks import RNNClassifier
from configs.runtime.errors import ConfigError
from data_preprocess.model_space.encoding import encode
from tests.unit.data_preprocess.test_model_space import fitted, stays  # noqa: F401  (a fixture)


def test_steps_since_the_last_measurement_are_counted_as_by_hand():
    mask = torch.tensor([[[-1.0, 1.0, -1.0, -1.0, 1.0]]])
    counts = np.expm1(since_measured(mask).numpy() * np.log1p(5))
    np.testing.assert_allclose(counts[0, 0], [1, 0, 1, 2, 0], atol=1e-6)


def test_parts_come_in_their_order(stays):  # noqa: F811
    normaliser = fitted(stays)
    x = encode(normaliser, stays)
    parts = input_parts(x, normaliser, ["static", "mask", "values"])
    assert torch.equal(parts, torch.cat([x[:, 6:], x[:, 3:6], x[:, :3]], dim=1))
    everything = ["values", "mask", "time", "static"]
    assert input_parts(x, normaliser, everything).shape[1] == 14
    assert num_input_channels(normaliser, everything) == 14


def test_a_values_only_model_ignores_masks_and_facts(stays):  # noqa: F811
    normaliser = fitted(stays)
    x = encode(normaliser, stays)
    model = build_classifier("rnn", {}, normaliser=normaliser, length=8, num_outputs=1)
    assert isinstance(model, SeriesInput)
    other = x.clone()
    other[:, 3:] = 0.3
    assert torch.equal(model(x), model(other))


def test_gradients_reach_masks_through_the_time_since(stays):  # noqa: F811
    normaliser = fitted(stays)
    x = (encode(normaliser, stays) * 0.7).requires_grad_()
    model = SeriesInput(RNNClassifier(6, 8, 1), normaliser, ["values", "time"])
    model(x).sum().backward()
    assert x.grad is not None
    assert x.grad[:, :3].abs().sum() > 0 and x.grad[:, 3:6].abs().sum() > 0
    assert x.grad[:, 6:].abs().sum() == 0


@pytest.mark.parametrize("parts", [["mask", "mask"], ["static"], [], ["hours"], ["values", "time"]])
def test_parts_that_are_not_there_are_refused(stays, parts):  # noqa: F811
    normaliser = fitted(stays, masks=False, static=[])
    with pytest.raises(ConfigError, match=r"classifier\.inputs=.*expected each at most once of"):
        build_classifier("rnn", {}, normaliser=normaliser, length=8, num_outputs=1, inputs=parts)
