"""Influence on a guidance loss through gradient boosting itself, for models that are boosted trees.

The trees are fitted once and keep their splits. Each leaf value is a Newton step of the weighted
log-loss after the trees before it, so the logits of the guidance rows are a smooth function of the
weights of the training series, and one backward pass through all trees gives its derivative. That
other series would also choose other splits is left out.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.ensemble import GradientBoostingClassifier
from torch import Tensor

from tardiff.influence.guidance_losses import GuidanceLoss

TREES, RATE, L2 = 100, 0.05, 1.0  # as the downstream model "gbdt", which has up to 200
FORESTS = 6  # fitted with other halves and features; their influences are averaged

Rows = tuple[Float[np.ndarray, "n feature"], Int[np.ndarray, " n"]]
Leaves = Int[Tensor, "n tree"]


def boosted_influence(
    pool: Rows, base: Int[np.ndarray, " m"], guide: Rows, loss: GuidanceLoss
) -> Float[np.ndarray, " n"]:
    """Minus the derivative of the guidance loss in the weight of every series of the pool, where
    the model is trained on the rows `base` of it; two classes."""
    x, y = pool
    weights = torch.zeros(len(y), dtype=torch.float64)
    weights[torch.from_numpy(base)] = 1.0
    found = []
    for seed in range(FORESTS):
        trees = GradientBoostingClassifier(
            n_estimators=TREES,
            learning_rate=RATE,
            max_leaf_nodes=15,
            max_depth=None,
            max_features=0.5,
            subsample=0.5,
            random_state=seed,
        ).fit(x[base], y[base])
        leaves, known = (torch.from_numpy(trees.apply(r)[:, :, 0]).long() for r in (x, guide[0]))
        w = weights.clone().requires_grad_()
        logits = boosted_logits(w, torch.from_numpy(y), leaves, known)
        pull = loss.gradient(logits.detach()[:, None], torch.from_numpy(guide[1]))[:, 0]
        found.append(-torch.autograd.grad(logits, w, grad_outputs=pull)[0].numpy())
    return np.mean(found, axis=0)


def boosted_logits(
    weights: Float[Tensor, " n"], y: Int[Tensor, " n"], leaves: Leaves, known: Leaves
) -> Float[Tensor, " m"]:
    """Logits of other rows, of boosted trees with these leaves and training weights.

    Args:
        leaves, known: leaf of every training row, and of the other rows, in every tree.
    """
    share = (weights * y).sum() / weights.sum()
    start = (share / (1 - share)).log()
    train, other = start.expand(len(leaves)), start.expand(len(known))
    for mine, theirs in zip(leaves.T, known.T, strict=True):
        p, count = train.sigmoid(), int(max(mine.max(), theirs.max())) + 1
        sums = torch.zeros(count, dtype=weights.dtype)
        slope = sums.index_add(0, mine, weights * (y - p))
        curvature = sums.index_add(0, mine, weights * p * (1 - p))
        values = RATE * slope / (curvature + L2)
        train, other = train + values[mine], other + values[theirs]
    return other
