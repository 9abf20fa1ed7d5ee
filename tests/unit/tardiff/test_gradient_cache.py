"""A guidance gradient is kept under all that decides it."""

from dataclasses import replace

import torch

from classifier.models.networks import RNNClassifier
from data_preprocess.model_space.encoding import EncodedSeries
from tardiff.influence import gradient_cache
from tardiff.influence.gradient_cache import InfluenceSettings, guide_vector


def classifier(seed):
    torch.manual_seed(seed)
    return RNNClassifier(in_channels=2, num_outputs=1, length=4, hidden=3, layers=1).eval()


def series(seed):
    x = torch.randn(30, 2, 4, generator=torch.Generator().manual_seed(seed))
    return EncodedSeries(x, torch.arange(30) % 2)


def test_what_decides_a_gradient_makes_another_one(tmp_path, monkeypatch):
    monkeypatch.setattr(gradient_cache, "PRECONDITIONER_ROWS", 10)  # the seed says which ten
    settings = InfluenceSettings(
        guidance_loss="nll", classes=None, preconditioner="ggn_cg", damping=0.1, cg_iterations=3
    )
    relabelled = EncodedSeries(series(1).x, 1 - series(1).y)
    plain = {"model": classifier(0), "guide": series(1), "train": series(2)}
    plain |= {"settings": settings, "seed": 0}
    found = []
    for change in (
        {},
        {"model": classifier(3)},
        {"guide": series(4)},
        {"guide": relabelled},
        {"train": series(5)},
        {"settings": replace(settings, damping=1.0)},
        {"seed": 1},
    ):
        asked = plain | change
        kept, _ = guide_vector(**asked, num_classes=2, cache=tmp_path)
        vector = torch.cat([part.flatten() for part in kept.values()])
        anew, _ = guide_vector(**asked, num_classes=2)
        assert torch.equal(vector, torch.cat([part.flatten() for part in anew.values()])), change
        assert not any(torch.equal(vector, other) for other in found), change
        found.append(vector)
    assert len(list(tmp_path.iterdir())) == len(found)
    monkeypatch.setattr(gradient_cache, "guidance_gradient", None)
    again, _ = guide_vector(**plain, num_classes=2, cache=tmp_path)  # computes nothing
    assert torch.equal(torch.cat([part.flatten() for part in again.values()]), found[0])
