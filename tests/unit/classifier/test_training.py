"""fit_classifier: it learns, it learns nothing from noise, and it picks the epoch it says."""

import signal
from functools import partial

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from classifier.metrics import best_f1_threshold, report_scores, selection_scores
from classifier.models.registry import build_model
from classifier.training import (
    FitRecipe,
    class_weights,
    fit_classifier,
    predict_logits,
    shuffled,
    weighted_loss,
)
from configs.runtime.errors import UserError

RECIPE = FitRecipe(batch_size=64, max_epochs=4, patience=4, learning_rate=1e-2)


def toy(rows: int, seed: int, classes: int = 2):
    """Noise plus a bump whose size depends on the class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (rows,), generator=generator)
    x = torch.randn(rows, 2, 12, generator=generator)
    x[:, 0, 3:9] += 1.5 * y[:, None]
    return x, y


def rnn(outputs: int = 1, **args):
    small = {"cell": "lstm", "hidden": 8, "layers": 1} | args
    return partial(build_model, "rnn", small, in_channels=2, length=12, num_outputs=outputs)


def auroc(fitted, x, y) -> float:
    return float(roc_auc_score(y.numpy(), predict_logits(fitted.model, x)[:, 0].numpy()))


def test_learns_what_can_be_learnt():
    fitted = fit_classifier(toy(500, 0), toy(200, 1), build=rnn(), recipe=RECIPE, seed=0)
    assert auroc(fitted, *toy(400, 2)) > 0.9
    assert not fitted.model.training


def test_learns_nothing_from_permuted_labels():
    def permuted(rows: int, seed: int):
        x, y = toy(rows, seed)
        return x, y[torch.randperm(rows, generator=torch.Generator().manual_seed(seed))]

    fitted = fit_classifier(permuted(500, 0), permuted(200, 1), build=rnn(), recipe=RECIPE, seed=0)
    # Standard error of an AUROC of 0.5 on 2 x 1000 series: 0.013.
    assert auroc(fitted, *permuted(2000, 2)) == pytest.approx(0.5, abs=0.05)


def test_more_classes():
    fitted = fit_classifier(
        toy(500, 0, classes=3), toy(200, 1, classes=3), build=rnn(3), recipe=RECIPE, seed=0
    )
    x, y = toy(300, 2, classes=3)
    assert report_scores(predict_logits(fitted.model, x), y)["auroc"] > 0.9


class Scripted(nn.Module):
    """After its n-th training batch it gives row n of `table` to the series 0, 1, 2, ..."""

    def __init__(self, table) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("table", torch.tensor(table))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, x):
        if self.training:
            self.batches += 1
            return self.weight.expand(len(x), 1)
        return self.table[self.batches - 1][x[:, 0, 0].long()][:, None] + 0 * self.weight


# Four negatives, then one positive.
TABLE = [
    [-2.0, -2.0, -2.0, -1.0, -1.0],  # AUROC 0.875; accuracy 0.8
    [-4.0, -4.0, -4.0, -4.0, -3.0],  # AUROC 1; accuracy 0.8, loss is worse
    [-3.0, -3.0, -3.0, 0.3, 0.2],  # AUROC 0.75; loss is best
    [-1.0, -1.0, -1.0, 9.0, 8.0],  # AUROC 0.75
    [-1.0, -1.0, -1.0, 9.0, 8.0],
]


@pytest.mark.parametrize(
    ("patience", "steps", "epochs"),
    [
        (9, 0, 5),
        (2, 0, 4),
        (1, 2, 4),  # one batch an epoch: two steps are two epochs
        (2, 1, 4),
    ],
)
def test_best_epoch_by_auroc(patience, steps, epochs):
    x, y = torch.zeros(5, 1, 2), torch.tensor([0, 0, 0, 0, 1])
    x[:, 0, 0] = torch.arange(5)
    waiting = {"patience": patience, "patience_steps": steps}
    recipe = FitRecipe(batch_size=5, max_epochs=5, **waiting)
    fitted = fit_classifier((x, y), (x, y), build=lambda: Scripted(TABLE), recipe=recipe, seed=0)
    assert fitted.best_epoch == 1
    assert len(fitted.history) == epochs
    assert [row["epoch"] for row in fitted.history] == list(range(epochs))
    assert predict_logits(fitted.model, x)[:, 0].tolist() == pytest.approx(TABLE[1])


@pytest.mark.parametrize(("batch_size", "epochs"), [(5, 5), (4, 4), (2, 3)])
def test_patience_in_steps_is_counted_in_whole_epochs(batch_size, epochs):
    """Epoch 2 is the best; three more steps are 3, 2 and 1 epochs of 1, 2 and 3 batches."""
    x, y = torch.zeros(5, 1, 2), torch.tensor([0, 0, 0, 0, 1])
    x[:, 0, 0] = torch.arange(5)
    per_epoch = -(-5 // batch_size)
    table = [row for row in [*TABLE, *TABLE[-1:] * 9] for _ in range(per_epoch)]
    waiting = {"patience": 1, "patience_steps": 3}
    recipe = FitRecipe(batch_size=batch_size, max_epochs=9, **waiting)
    fitted = fit_classifier((x, y), (x, y), build=lambda: Scripted(table), recipe=recipe, seed=0)
    assert (fitted.best_epoch, len(fitted.history)) == (1, epochs)


def test_auroc_is_chosen_over_accuracy():
    """Epoch 1 of this table has the better accuracy (4/6 against 3/6), epoch 0 the better AUROC."""
    table = [[1.0, 1.0, 1.0, 2.0, 2.0, 2.0], [-1.0, -1.0, 1.0, 2.0, 2.0, -2.0]]
    x, y = torch.zeros(6, 1, 2), torch.tensor([0, 0, 0, 1, 1, 1])
    x[:, 0, 0] = torch.arange(6)
    recipe = FitRecipe(batch_size=6, max_epochs=2)
    fitted = fit_classifier((x, y), (x, y), build=lambda: Scripted(table), recipe=recipe, seed=0)
    assert fitted.best_epoch == 0


def test_the_earliest_of_equal_epochs_is_kept():
    x, y = torch.zeros(2, 1, 2), torch.tensor([0, 1])
    x[:, 0, 0] = torch.arange(2)
    build, recipe = partial(Scripted, [[0.0, 1.0], [0.0, 2.0]]), FitRecipe(max_epochs=2)
    assert fit_classifier((x, y), (x, y), build=build, recipe=recipe, seed=0).best_epoch == 0


def test_training_batches_are_shuffled_by_the_seed():
    class Recorder(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2, 1)
            self.seen = []

        def forward(self, x):
            if self.training:
                self.seen += x[:, 0, 0].tolist()
            return self.head(x[:, 0])

    x, y = torch.zeros(12, 1, 2), torch.arange(12) % 2
    x[:, 0, 0] = torch.arange(12)
    fit = partial(fit_classifier, (x, y), (x, y), build=Recorder)
    recipe = FitRecipe(batch_size=4, max_epochs=2)
    first, again, other = (fit(recipe=recipe, seed=seed).model.seen for seed in (0, 0, 1))
    assert first == again != other
    assert sorted(first[:12]) == sorted(first[12:]) == list(range(12))
    assert first[:12] != first[12:] and first[:12] != list(range(12))


def test_balanced_weights_by_hand():
    y = torch.tensor([0] * 6 + [1] * 2)
    torch.testing.assert_close(class_weights(y, "balanced"), torch.tensor([8 / 12, 8 / 4]))
    torch.testing.assert_close(class_weights(y, "none"), torch.ones(2))
    gap = class_weights(2 * y, "balanced")  # class 1 has no series
    assert gap.isfinite().all() and float(gap[2 * y].mean()) == pytest.approx(1)
    x = torch.randn(8, 2, 3, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 1))
    weighted_loss(model, x, y, class_weights(y, "balanced")).backward()
    p = torch.sigmoid(model(x))[:, 0]
    residual = torch.where(y == 1, 2.0 * (p - 1), 2 / 3 * p)
    expected = (residual[:, None] * x.flatten(1)).mean(0)
    torch.testing.assert_close(model[1].weight.grad[0], expected.detach())


@pytest.mark.parametrize("kind", ["none", "balanced"])
def test_the_recipe_decides_on_class_weights(kind):
    """From logit 0 the balanced gradient of the bias is exactly 0, the plain one is not."""

    class Bias(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.bias.expand(len(x), 1)

    # 4 of 12: the weights 1.5 and 0.75 are exact in binary, and Adam magnifies any rounding.
    x, y = torch.zeros(12, 1, 2), (torch.arange(12) < 4).long()
    recipe = FitRecipe(
        batch_size=12, max_epochs=1, learning_rate=0.1, class_weight=kind, weight_decay=0.0
    )
    fitted = fit_classifier((x, y), (x, y), build=Bias, recipe=recipe, seed=0)
    expected = 0.0 if kind == "balanced" else -0.1  # AdamW's first step is the learning rate
    assert fitted.model.bias.item() == pytest.approx(expected, abs=1e-3)


def _weights(fitted) -> torch.Tensor:
    return torch.cat([p.flatten() for p in fitted.model.parameters()])


def test_same_seed_same_weights_and_the_callers_random_state_untouched():
    recipe = FitRecipe(batch_size=32, max_epochs=2)
    run = partial(fit_classifier, toy(100, 0), toy(50, 1), build=rnn(dropout=0.3), recipe=recipe)
    first = _weights(run(seed=5))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = _weights(run(seed=5))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, second)
    assert not torch.equal(first, _weights(run(seed=6)))


def test_quiet_and_without_files(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    recipe = FitRecipe(max_epochs=1)
    fit_classifier(toy(60, 0), toy(50, 1), build=rnn(), recipe=recipe, seed=0)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_progress_on_request(monkeypatch, caplog):
    monkeypatch.setattr("configs.runtime.progress.SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level("INFO")
    recipe = FitRecipe(max_epochs=1)
    for progress in (False, True):
        fit_classifier(
            toy(60, 0), toy(50, 1), build=rnn(), recipe=recipe, seed=0, progress=progress
        )
        assert ("classifier: 1 of" in caplog.text) is progress


def test_divergence_is_an_error_that_names_the_remedy():
    def linear():
        return nn.Sequential(nn.Flatten(), nn.Linear(24, 8), nn.Linear(8, 1))

    recipe = FitRecipe(max_epochs=3, learning_rate=1e30, weight_decay=0.0)
    with pytest.raises(UserError, match="lower classifier.learning_rate"):
        fit_classifier(toy(200, 0), toy(50, 1), build=linear, recipe=recipe, seed=0)


def test_ctrl_c_reaches_the_caller_who_can_be_interrupted_again():
    class Interrupted(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(24, 1)

        def forward(self, x):
            if self.training:
                raise KeyboardInterrupt
            return self.head(x.flatten(1))

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit_classifier(toy(60, 0), toy(50, 1), build=Interrupted, recipe=RECIPE, seed=0)
    assert signal.getsignal(signal.SIGINT) is handler


def test_batches_cover_each_series_once_in_a_new_order_every_pass():
    x, y = torch.arange(10.0)[:, None, None], torch.arange(10)
    generator, state = torch.Generator().manual_seed(0), torch.get_rng_state()
    passes = [list(shuffled((x, y), 4, generator)) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert [len(labels) for _, labels in passes[0]] == [4, 4, 2]
    assert all(torch.equal(series[:, 0, 0].long(), labels) for series, labels in passes[0])
    orders = [torch.cat([labels for _, labels in batches]) for batches in passes]
    assert all(sorted(order.tolist()) == list(range(10)) for order in orders)
    assert not torch.equal(*orders)


def test_predictions_ignore_dropout_and_batch_size_and_keep_the_mode(monkeypatch):
    monkeypatch.setattr("classifier.training.EVAL_BATCH_SIZE", 7)
    x, _ = toy(50, 0)
    model = rnn(dropout=0.5)()
    model.train()
    logits = predict_logits(model, x)
    assert model.training
    torch.testing.assert_close(logits, model.eval()(x).detach())


def test_scores_against_hand_counts():
    logits = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
    y = torch.tensor([0, 1, 0, 1])
    scores = selection_scores(logits, y)
    assert scores["auroc"] == pytest.approx(3 / 4)  # 3 of 4 pairs in order
    assert scores["auprc"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    threshold, f1 = best_f1_threshold(torch.sigmoid(logits)[:, 0].numpy(), y.numpy())
    assert (threshold, f1) == pytest.approx((0.5, 0.8))  # finds 1, 2, 3: precision 2/3, recall 1


def test_confident_logits_are_ranked_without_ties():
    logits = torch.tensor([[40.0], [50.0], [60.0], [70.0]])
    assert selection_scores(logits, torch.tensor([0, 0, 1, 1]))["auroc"] == 1.0
