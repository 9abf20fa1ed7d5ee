"""Exact nearest neighbours in bounded memory, for sets of tens of thousands of series."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

QUERY_CHUNK = 2048
REFERENCE_BLOCK = 8192
# |q|^2 - 2qr + |r|^2 cancels for near copies (float32 resolves a distance only to about 1e-3 of
# the norms), so it only nominates candidates; their distances are recomputed from differences.
SPARE_CANDIDATES = 4


def nearest(
    query: Float[Tensor, "n dim"],
    reference: Float[Tensor, "m dim"],
    *,
    k: int = 1,
    exclude_self: bool = False,
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Euclidean distances to the k nearest rows of `reference`, ascending, and their row numbers.

    Memory is bounded by QUERY_CHUNK x REFERENCE_BLOCK whatever n and m are.

    Args:
        exclude_self: `query` is `reference`; a row is not its own neighbour (a second, equal row
            is).

    Raises:
        ValueError: k exceeds the rows to choose from.
    """
    available = len(reference) - exclude_self
    if k > available:
        raise ValueError(f"{k} neighbours asked for, {available} rows to choose from")
    # Centring makes the norms, hence the rounding above, as small as they can be.
    centre = reference.mean(0)
    centred, squares = reference - centre, (reference - centre).square().sum(1)
    parts = []
    for start in range(0, len(query), QUERY_CHUNK):
        chunk = query[start : start + QUERY_CHUNK] - centre
        own = torch.arange(start, start + len(chunk)) if exclude_self else None
        candidates = _candidates(chunk, centred, squares, min(k + SPARE_CANDIDATES, available), own)
        parts.append(_refine(chunk, centred, candidates, k))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _candidates(
    chunk: Tensor, centred: Tensor, squares: Tensor, count: int, own: Tensor | None
) -> Tensor:
    """Row numbers of the `count` nearest by the fast formula, per query."""
    scores = chunk.new_empty(len(chunk), 0)
    rows = torch.empty(len(chunk), 0, dtype=torch.long)
    for start in range(0, len(centred), REFERENCE_BLOCK):
        stop = min(start + REFERENCE_BLOCK, len(centred))
        block = torch.addmm(squares[start:stop], chunk, centred[start:stop].T, alpha=-2)
        if own is not None:
            inside = (own >= start) & (own < stop)
            block[inside.nonzero()[:, 0], own[inside] - start] = torch.inf
        best, index = block.topk(min(count, stop - start), dim=1, largest=False)
        scores, rows = torch.cat([scores, best], 1), torch.cat([rows, index + start], 1)
        scores, keep = scores.topk(min(count, scores.shape[1]), dim=1, largest=False)
        rows = rows.gather(1, keep)
    return rows


def _refine(chunk: Tensor, centred: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    exact = torch.stack(
        [(chunk - centred[column]).square().sum(1) for column in candidates.T], dim=1
    )
    distances, order = exact.sqrt().topk(k, dim=1, largest=False)
    return distances, candidates.gather(1, order)
