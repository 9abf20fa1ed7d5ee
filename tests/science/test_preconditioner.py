"""T8 of docs/method.md: Gauss-Newton products and CG against dense linear algebra."""

import pytest
import torch
from torch import nn

from tardiff.influence.preconditioner import (
    GaussNewton,
    conjugate_gradient,
    curvature,
    largest_eigenvalue,
    precondition,
)
from tests.support.oracles import Logistic, Recurrent, random_direction


def flat(vector):
    return torch.cat([part.flatten() for part in vector.values()])


def dense_gauss_newton(model, x):
    """sum_i J_i^T S_i J_i / n, with J by one backward per row and logit."""
    total = 0.0
    for row in x:
        logits = model(row[None])
        out = logits.shape[1]
        rows = [
            torch.cat(
                [
                    g.flatten()
                    for g in torch.autograd.grad(
                        logits[0, k], list(model.parameters()), retain_graph=True
                    )
                ]
            )
            for k in range(out)
        ]
        jacobian = torch.stack(rows)
        if out == 1:
            p = torch.sigmoid(logits[0])
            s = torch.diag(p * (1 - p))
        else:
            p = torch.softmax(logits[0], 0)
            s = torch.diag(p) - torch.outer(p, p)
        total = total + jacobian.T @ s.detach() @ jacobian
    return total / len(x)


def make(out):
    torch.manual_seed(0)
    model = Recurrent(nn.GRU, 2, 4, out).double().eval()
    return model, torch.randn(12, 2, 6, dtype=torch.float64)


@pytest.mark.parametrize("out", [1, 3])
def test_t8_product_equals_the_dense_matrix(out):
    model, x = make(out)
    vector = random_direction(model, 2)
    found = flat(GaussNewton(model, x, batch_size=5)(vector))
    expected = dense_gauss_newton(model, x) @ flat(vector)
    assert (found - expected).norm() / expected.norm() < 1e-6


@pytest.mark.parametrize("out", [1, 3])
def test_curvature_is_the_hessian_of_the_loss_in_the_logits(out):
    torch.manual_seed(0)
    logits = torch.randn(1, out, dtype=torch.float64)
    change = torch.randn(1, out, dtype=torch.float64)

    def loss(z):
        if out == 1:
            return nn.functional.softplus(z).sum()
        return torch.logsumexp(z, 0)

    hessian = torch.autograd.functional.hessian(loss, logits[0])
    torch.testing.assert_close(curvature(logits, change)[0], hessian @ change[0])


def test_t8_solution_equals_the_dense_solve():
    model, x = make(1)
    g = random_direction(model, 5)
    dense = dense_gauss_newton(model, x)
    largest = torch.linalg.eigvalsh(dense).max()
    found, facts = precondition(model, g, x, damping=0.015, iterations=60)
    damped = dense + 0.015 * largest * torch.eye(len(dense), dtype=torch.float64)
    expected = torch.linalg.solve(damped, flat(g))
    assert abs(facts["largest_eigenvalue"] / float(largest) - 1) < 0.02
    assert (flat(found) - expected).norm() / expected.norm() < 0.02
    assert facts["cg_residual"] < 1e-3


def test_reported_residual_is_the_true_one():
    torch.manual_seed(0)
    root = torch.randn(20, 20, dtype=torch.float64)
    matrix = root @ root.T
    right = {"a": torch.randn(20, dtype=torch.float64)}

    def product(vector):
        return {"a": matrix @ vector["a"]}

    solution, residual = conjugate_gradient(product, right, damping=0.5, iterations=9)
    true = right["a"] - matrix @ solution["a"] - 0.5 * solution["a"]
    assert abs(residual - float(true.norm() / right["a"].norm())) < 1e-6
    top = torch.linalg.eigvalsh(matrix).max()
    assert abs(largest_eigenvalue(product, right) / float(top) - 1) < 0.05


def test_t8_ranks_rows_like_exact_leave_one_in_newton_on_ridge_logistic():
    from scipy.stats import spearmanr

    from classifier.losses import per_sample_loss
    from tardiff.influence.guidance_gradient import guidance_gradient
    from tardiff.influence.guidance_losses import GuidanceLoss
    from tardiff.influence.input_gradient import InfluenceDirection

    torch.manual_seed(1)
    n, features, ridge = 200, 5, 0.05
    truth = torch.randn(features, dtype=torch.float64)
    x = torch.randn(n + 300 + 60, 1, features, dtype=torch.float64)
    y = (torch.rand(len(x), dtype=torch.float64) < torch.sigmoid(x[:, 0] @ truth)).long()
    model = Logistic(features).double().eval()
    model.head.bias.requires_grad_(False)
    nn.init.zeros_(model.head.bias)

    def newton(rows, start):
        w = start.clone()
        for _ in range(30):
            p = torch.sigmoid(x[rows, 0] @ w)
            gradient = x[rows, 0].T @ (p - y[rows]) / n + ridge * w
            s = (p * (1 - p))[:, None]
            hessian = (x[rows, 0] * s).T @ x[rows, 0] / n + ridge * torch.eye(features).double()
            w = w - torch.linalg.solve(hessian, gradient)
        return w

    train, guide = list(range(n)), slice(n, n + 300)
    base = newton(train, torch.zeros(features, dtype=torch.float64))
    model.head.weight.data = base[None]
    g = guidance_gradient(model, x[guide], y[guide], GuidanceLoss("nll", 2))
    product = GaussNewton(model, x[:n])
    solved, _ = conjugate_gradient(product, g, damping=ridge, iterations=50)
    candidates = list(range(n + 300, n + 360))
    score = InfluenceDirection(model, per_sample_loss, solved)(x[candidates], y[candidates])[0]

    def guide_loss(w):
        return float(per_sample_loss((x[guide, 0] @ w)[:, None], y[guide]).mean())

    gains = [guide_loss(base) - guide_loss(newton([*train, c], base)) for c in candidates]
    assert spearmanr(score.numpy(), gains).statistic >= 0.99
