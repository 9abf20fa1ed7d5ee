"""The convex guide: its influence against actual retraining, its gradient against autograd."""

import numpy as np
import pytest
import torch

from classifier.losses import per_sample_loss
from data_preprocess.model_space.encoding import EncodedSeries
from tardiff.guidance.pool_estimate import PoolGuide
from tardiff.influence.convex_guide import (
    ConvexInfluence,
    GuidanceLoss,
    LabelledDesign,
    design,
    fit_guide,
    influence_of,
)
from tardiff.influence.series_features import fit_features

PENALTY = 0.1
LOSSES = [
    GuidanceLoss("rank", 2),
    GuidanceLoss("nll", 2, [1]),
    GuidanceLoss("balanced", 3),
    GuidanceLoss("rank", 3),
]


def series(n: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two channels of noise whose level, or trend for the third class, tells the class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    x = torch.randn(n, 2, 12, generator=generator)
    x[y == 1] += 0.5
    x[y == 2] += torch.linspace(-1, 1, 12)
    return x, y


def everything(x: torch.Tensor) -> torch.Tensor:
    return x


@pytest.fixture(params=LOSSES, ids=lambda loss: f"{loss.kind}-{loss.num_classes}")
def fitted(request):
    loss = request.param
    x, y = series(60, loss.num_classes, 0)
    guide_x, guide_y = series(30, loss.num_classes, 1)
    features = fit_features(x, view=everything, kernels=6, seed=0)
    guide = fit_guide(design(features, x), y, num_classes=loss.num_classes, penalty=PENALTY)
    return loss, features, guide, design(features, guide_x), guide_y


def objective(guide, theta, weights):
    """The training problem, written down once more."""
    losses = per_sample_loss(guide.rows @ theta, guide.y)
    return (weights * losses).mean() + guide.penalty / 2 * theta[:-1].square().sum()


def test_the_fit_has_converged(fitted):
    _, _, guide, _, _ = fitted
    theta = guide.theta.clone().requires_grad_()
    objective(guide, theta, torch.ones(60).double()).backward()
    assert theta.grad is not None and theta.grad.abs().max() < 1e-5


def test_a_step_that_overshoots_is_halved():
    """Weights far from equal ones: a whole step of the Hessian of equal weights goes too far."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(60) % 2
    rows = torch.randn(60, 3, generator=generator).double()
    rows[:, 0] += y
    rows = torch.cat([rows, torch.ones(60, 1).double()], 1)
    guide = fit_guide(rows, y, num_classes=2, penalty=PENALTY)
    weights = torch.full((60,), 0.01).double()
    weights[:2] = 30.0
    before = float(objective(guide, guide.theta, weights))
    refitted = guide.refitted(weights)
    best = torch.optim.LBFGS([theta := guide.theta.clone().requires_grad_()], max_iter=200)

    def closure():
        best.zero_grad()
        value = objective(guide, theta, weights)
        value.backward()
        return value

    best.step(closure)
    gap = before - float(objective(guide, theta.detach(), weights))
    assert before - float(objective(guide, refitted, weights)) > 0.95 * gap > 0


def test_influence_is_the_measured_change_of_retraining(fitted):
    loss, _, guide, rows, y = fitted
    predicted = guide.influence(guide.toward(guide.gradient(LabelledDesign(rows, y), loss)))
    measured = []
    for row in range(0, 60, 7):
        losses = []
        for change in (0.01, -0.01):
            weights = torch.ones(60).double()
            weights[row] += change
            losses.append(loss.value(rows @ guide.refitted(weights), y))
        measured.append((losses[0] - losses[1]) / 0.02 * 60)
    wanted = -predicted[::7]
    torch.testing.assert_close(
        torch.tensor(measured, dtype=torch.float64), wanted, rtol=0.02, atol=2e-3
    )


def test_refitting_with_other_weights_converges_to_their_optimum(fitted):
    _, _, guide, _, _ = fitted
    weights = torch.linspace(0.2, 1.8, 60).double()
    theta = guide.refitted(weights).requires_grad_()
    objective(guide, theta, weights).backward()
    assert theta.grad is not None and theta.grad.abs().max() < 1e-4


def test_refitting_converges_where_a_tilt_is_strong_and_the_penalty_weak():
    """The Hessian of equal weights is too far off then for steps with it alone."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 20, generator=generator).double()
    y = (x[:, :5].sum(1) + torch.randn(200, generator=generator)).div(2).round().clamp(-1, 1) + 1
    rows = torch.cat([x, torch.ones(200, 1).double()], 1)
    guide = fit_guide(rows, y.long(), num_classes=3, penalty=1e-4)
    weights = (1.5 * torch.randn(200, generator=generator).double()).exp()
    weights /= weights.mean()
    theta = guide.refitted(weights).requires_grad_()
    objective(guide, theta, weights).backward()
    assert theta.grad is not None and theta.grad.abs().max() < 1e-5


def test_gradient_is_that_of_double_backward(fitted):
    loss, features, guide, rows, y = fitted
    toward = guide.toward(guide.gradient(LabelledDesign(rows, y), loss))
    x, labels = series(9, loss.num_classes, 2)
    score, gradient = ConvexInfluence(features, guide.theta, toward)(x, labels)
    leaf, theta = x.clone().requires_grad_(), guide.theta.float().requires_grad_()
    seen = torch.cat([features(leaf), torch.ones(9, 1)], 1)
    (of_theta,) = torch.autograd.grad(
        per_sample_loss(seen @ theta, labels).sum(), theta, create_graph=True
    )
    total = (of_theta * toward.float()).sum()
    (of_x,) = torch.autograd.grad(total, leaf)
    torch.testing.assert_close(gradient, of_x, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(score.sum(), total.detach(), rtol=1e-4, atol=1e-4)
    exact = influence_of(design(features, x), labels, guide.theta, toward)
    torch.testing.assert_close(score.double(), exact, rtol=1e-3, atol=1e-4)


def test_a_series_does_not_depend_on_its_batch(fitted):
    loss, features, guide, rows, y = fitted
    direction = ConvexInfluence(
        features, guide.theta, guide.toward(guide.gradient(LabelledDesign(rows, y), loss))
    )
    x, labels = series(6, loss.num_classes, 3)
    whole = direction(x, labels)
    alone = direction(x[2:3], labels[2:3])
    torch.testing.assert_close(whole[0][2:3], alone[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole[1][2:3], alone[1], rtol=1e-4, atol=1e-5)


def test_features_are_standard_and_smooth_where_a_channel_is_constant():
    x = torch.randn(40, 3, 10, generator=torch.Generator().manual_seed(0))
    x[:, 2] = 1.5
    features = fit_features(x, view=everything, kernels=5, seed=0)
    found = features(x)
    constant = found.std(0) < 1e-3
    torch.testing.assert_close(found.mean(0), torch.zeros(found.shape[1]), rtol=0, atol=1e-4)
    assert 8 <= constant.sum() < 16 and ((found.std(0) - 1).abs()[~constant] < 1e-2).all()
    nearly = x.clone()
    nearly[:, 2] += 1e-3
    assert (features(nearly) - found).abs().max() < 0.1
    leaf = x.clone().requires_grad_()
    features(leaf).square().sum().backward()
    assert leaf.grad is not None and torch.isfinite(leaf.grad).all()


def test_a_mask_that_is_on_nearly_everywhere_does_not_shout():
    """Its soft maximum spreads by 1e-4, a mask that is still noise would lie 10,000 s.d. off."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.where(torch.rand(400, 1, 24, generator=generator) < 0.9, 1.0, -1.0)
    x = torch.cat([torch.randn(400, 1, 24, generator=generator), masks], 1)
    features = fit_features(x, view=everything, kernels=0, seed=0)
    noise = torch.randn(400, 2, 24, generator=generator)
    assert features(noise).abs().max() < 100


def test_features_see_the_view_alone():
    x = torch.randn(20, 3, 10, generator=torch.Generator().manual_seed(0))
    features = fit_features(x, view=lambda rows: rows[:, :2], kernels=4, seed=0)
    changed = x.clone()
    changed[:, 2] += 5
    torch.testing.assert_close(features(changed), features(x))


def test_the_design_of_series_knows_their_patients():
    """Folds of the predicted strength are of patients."""
    x, y = series(12, 2, 0)
    features = fit_features(x, view=everything, kernels=6, seed=0)
    guide = fit_guide(design(features, x), y, num_classes=2, penalty=PENALTY)
    seen = PoolGuide(features, guide).design(EncodedSeries(x, y, np.arange(12) // 3))
    assert seen.where(y == 1).subject_ids.tolist() == [k // 3 for k in range(1, 12, 2)]
