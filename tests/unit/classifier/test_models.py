"""Pooling against its definition, independent rows, and resolution by import path."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from classifier.models.networks import ConvClassifier, RNNClassifier
from classifier.models.registry import build_model
from classifier.models.source_code import own_source
from configs.runtime.errors import ConfigError
from data_preprocess.storage.content_cache import source_version
from tests.support.own_network import own_network

SHAPE = {"in_channels": 3, "length": 10, "num_outputs": 1}
ARCHITECTURES = [
    ("rnn", {"cell": "gru"}),
    ("rnn", {"cell": "lstm"}),
    ("rnn", {"bidirectional": False, "layers": 1, "dropout": 0.3}),
    ("conv", {"dropout": 0.3}),
]


@pytest.fixture
def x():
    return torch.randn(5, 3, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_read_out_is_mean_and_maximum_over_time(x, cell):
    model = RNNClassifier(**SHAPE, cell=cell)
    states, _ = model.rnn(x.transpose(1, 2))
    expected = torch.cat([states.mean(1), states.max(1).values], 1)
    torch.testing.assert_close(model(x), model.head(expected))


def test_the_backward_direction_is_trained_on_the_whole_series(x):
    """The published read-out, states[:, -1], leaves this gradient exactly 0."""
    model = RNNClassifier(**SHAPE)
    model(x).sum().backward()
    for name in ("weight_hh_l0_reverse", "weight_hh_l1_reverse"):
        gradient = getattr(model.rnn, name).grad
        assert gradient is not None and gradient.abs().max() > 0

    nn.init.zeros_(model.head.weight[:, :32])  # leave the backward halves of mean and maximum
    nn.init.zeros_(model.head.weight[:, 64:96])
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    assert (gradient.abs().amax(dim=(0, 1)) > 0).all(), "a time step is not seen"


@pytest.mark.parametrize(("name", "args"), ARCHITECTURES)
def test_rows_are_independent(x, name, args):
    model = build_model(name, args, **SHAPE).eval()
    together = model(x)
    alone = torch.cat([model(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert together.shape == (5, 1)
    assert together.std() > 0


@pytest.mark.parametrize("outputs", [1, 4])
def test_any_length_and_number_of_outputs(outputs):
    for name in ("rnn", "conv"):
        model = build_model(name, {}, in_channels=1, length=33, num_outputs=outputs)
        assert model(torch.zeros(2, 1, 33)).shape == (2, outputs)


def test_import_path_is_the_same_as_the_short_name():
    assert (
        type(build_model("classifier.models.networks:ConvClassifier", {}, **SHAPE))
        is ConvClassifier
    )
    assert type(build_model("conv", {}, **SHAPE)) is ConvClassifier


OWN = """
import torch
from torch import nn
class Linear(nn.Module):
    def __init__(self, in_channels, length, num_outputs, *, scale=1.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_channels * length, num_outputs))
        self.scale = scale
    def forward(self, x):
        return self.scale * self.layers(x)
class Flat(Linear):
    def forward(self, x):
        return super().forward(x)[:, 0]
class Normed(Linear):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__(in_channels, length, num_outputs)
        self.norm = nn.BatchNorm1d(in_channels)
    def forward(self, x):
        return super().forward(self.norm(x))
class Centred(Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))
class Counting(Linear):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__(in_channels, length, num_outputs)
        self.register_buffer("calls", torch.tensor(0))
    def forward(self, x):
        self.calls += 1
        return super().forward(x)
class Dropping(Linear):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__(in_channels, length, num_outputs)
        self.dropout = nn.Dropout(0.5)
    def forward(self, x):
        return super().forward(self.dropout(x))
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_classifiers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_classifiers"


def test_own_class_by_import_path(own_module, x):
    model = build_model(f"{own_module}:Linear", {"scale": 2.0}, **SHAPE)
    assert model(x).shape == (5, 1)
    assert type(build_model(f"{own_module}:Dropping", {}, **SHAPE)).__name__ == "Dropping"


@pytest.mark.parametrize(
    ("path", "args", "message"),
    [
        ("nowhere.models:Net", {}, "cannot import nowhere.models"),
        ("own_classifiers:Missing", {}, "no nn.Module class 'Missing'; it has Linear, Flat"),
        ("own_classifiers", {}, "expected rnn, conv, timesnet or package.module:Class"),
        ("own_classifiers:Linear", {"depth": 3}, "accepts scale"),
        ("own_classifiers:Flat", {}, r"returned \(2,\), expected logits of shape \(2, 1\)"),
        ("own_classifiers:Normed", {}, "training mode.*replace BatchNorm"),
        ("own_classifiers:Centred", {}, "eval mode.*rest of its batch"),
        ("rnn", {"hiden": 3}, "accepts cell, hidden, layers, bidirectional, dropout"),
        ("rnn", {"cell": "rnn"}, "expected one of gru, lstm"),
        ("rnn", {"hidden": 0}, "hidden=0: expected an integer >= 1"),
        ("rnn", {"dropout": 1.0}, r"expected a share in \[0, 1\)"),
        ("conv", {"kernel": 4}, "kernel=4 odd"),
    ],
)
def test_refusals_say_what_is_expected(own_module, path, args, message):
    with pytest.raises(ConfigError, match=message):
        build_model(path, args, **SHAPE)


def test_probing_leaves_no_trace():
    torch.manual_seed(3)
    plain = RNNClassifier(**SHAPE, dropout=0.2)
    state = torch.get_rng_state()
    torch.manual_seed(3)
    probed = build_model("rnn", {"dropout": 0.2}, **SHAPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert probed.training
    for ours, theirs in zip(probed.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_probing_restores_buffers(own_module):
    assert build_model(f"{own_module}:Counting", {}, **SHAPE).calls == 0


BREAKERS = """
import numpy
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_channels * length, num_outputs))
    def forward(self, x):
        return self.layers(x)
class Probabilities(Net):
    def forward(self, x):
        z = super().forward(x)
        return z.sigmoid() if z.shape[1] == 1 else z.softmax(1)
class Numpy(Net):
    def forward(self, x):
        return super().forward(torch.from_numpy(x.detach().numpy()))
class NoGrad(Net):
    def forward(self, x):
        with torch.no_grad():
            h = x.tanh()
        return super().forward(h)
class Rounded(Net):
    def forward(self, x):
        return super().forward((4 * x).round() / 4)
class HalfDetached(Net):
    def forward(self, x):
        return super().forward(torch.cat([x[:, :1], 3 * x[:, 1:].detach()], 1))
class InPlace(Net):
    def forward(self, x):
        x -= x.mean(2, keepdim=True)
        return super().forward(x)
class Lazy(Net):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__(in_channels, length, num_outputs)
        self.head = None
    def forward(self, x):
        if self.head is None:
            self.head = nn.Linear(1, 1)
        return super().forward(x)
class LazyTorch(Net):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__(in_channels, length, num_outputs)
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(num_outputs))
class Double(Net):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__(in_channels, length, num_outputs)
        self.double()
    def forward(self, x):
        return super().forward(x.double())
class DoubleOut(Net):
    def forward(self, x):
        return super().forward(x).double()
class Frozen(Net):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__(in_channels, length, num_outputs)
        self.requires_grad_(False)
class Fails(Net):
    def forward(self, x):
        return super().forward(x[:, :, 1:])
class Kinked(Net):
    def forward(self, x):
        return super().forward(x.relu() + x.clamp(-1, 1).abs())
class FrozenEncoder(Net):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__(in_channels, length, num_outputs)
        self.encoder = nn.Conv1d(in_channels, in_channels, 3, padding=1).requires_grad_(False)
    def forward(self, x):
        return super().forward(self.encoder(x))
class LogProbabilities(Net):
    def forward(self, x):
        z = super().forward(x)
        return z if z.shape[1] == 1 else z.log_softmax(1)
"""


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Probabilities", "outputs are probabilities.*leave out the sigmoid"),
        ("Numpy", "no gradient reaches the series"),
        ("NoGrad", "no gradient reaches the series.*no_grad"),
        ("Rounded", "gradient with respect to the series is not that of its output"),
        ("HalfDetached", "gradient with respect to the series is not that of its output"),
        ("InPlace", "changes its input in place"),
        ("Lazy", "makes layers at its first call"),
        ("LazyTorch", "makes layers at its first call"),
        ("Double", "weights of torch.float64"),
        ("DoubleOut", "its logits are torch.float64"),
        ("Frozen", "no parameter that can be trained"),
        ("Fails", "fails on a batch of"),
        ("Kinked", None),
        ("FrozenEncoder", None),
        ("LogProbabilities", None),
    ],
)
def test_own_classes_keep_the_contract_or_are_named(tmp_path, monkeypatch, name, message, outputs):
    (tmp_path / "breakers.py").write_text(BREAKERS)
    monkeypatch.syspath_prepend(tmp_path)
    shape = SHAPE | {"num_outputs": outputs}
    if message is None:
        build_model(f"breakers:{name}", {}, **shape)
        return
    with pytest.raises(ConfigError, match=f"classifier.model='breakers:{name}': .*{message}"):
        build_model(f"breakers:{name}", {}, **shape)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["rnn", "conv"]),
    st.integers(1, 5),
    st.integers(8, 60),
    st.integers(1, 4),
    st.integers(0, 10_000),
)
def test_sound_networks_of_any_shape_and_start_are_taken(name, channels, length, outputs, seed):
    torch.manual_seed(seed)
    build_model(name, {}, in_channels=channels, length=length, num_outputs=outputs)


@pytest.mark.parametrize("has_init", [True, False])
def test_an_own_class_is_known_by_the_source_of_its_package(tmp_path, monkeypatch, has_init):
    """What it imports from there decides what it does, in a folder without __init__ too."""
    package = f"own_package_{has_init}"
    folder = tmp_path / package
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "net.py").write_text(own_network("FACTOR", "from .between import FACTOR"))
    (folder / "between.py").write_text(
        f"import json, os.path\nfrom {package}.parts import FACTOR\n"
    )
    if has_init:
        (folder / "__init__.py").touch()
    prints = []
    for factor in (1, 2):
        (folder / "parts.py").write_text(f"FACTOR = {factor}\n")
        source_version.cache_clear()
        prints.append(own_source(f"{package}.net:Net"))
    assert None not in prints and prints[0] != prints[1]
    assert own_source("rnn") is own_source("classifier.models.networks:ConvClassifier") is None
