"""Maps of all series in two dimensions: principal components and t-SNE, real and synthetic."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from scripts.quality.common.comparison import draw
from scripts.utility.protocols import REAL, Series

MAX_SERIES = 400  # of each source: t-SNE is the costliest of all maps
PERPLEXITY = 30.0
TSNE_AXES = 30


@dataclass(frozen=True)
class Maps:
    """Where the series of every source lie.

    Attributes:
        points: title of the map -> source (REAL: held-out series) -> (n, 2).
        explained: share of the variance of held-out series in the two components.
        spreads: per set, its standard deviation along both components : the real one.
        variances: per set, its total variance : the real one.
    """

    points: dict[str, dict[str, np.ndarray]]
    explained: float
    spreads: dict[str, np.ndarray]
    variances: dict[str, float]


def embed(test: Series, sets: Mapping[str, Series], *, seed: int) -> Maps | None:
    """Equally many held-out series and series of each set, in the same maps; None without a set."""
    if not sets:
        return None
    sources = {REAL: test} | dict(sets)
    size = min(MAX_SERIES, *map(len, sources.values()))
    rows = {name: _rows(series, size, seed) for name, series in sources.items()}
    pca = PCA(2, random_state=seed).fit(rows[REAL])
    components = {name: pca.transform(x) for name, x in rows.items()}
    real = components[REAL].std(axis=0), rows[REAL].var(axis=0).sum()
    return Maps(
        points={"principal components": components, "t-SNE": _tsne(rows, seed)},
        explained=float(pca.explained_variance_ratio_.sum()),
        spreads={name: components[name].std(axis=0) / real[0] for name in sets},
        variances={name: float(rows[name].var(axis=0).sum() / real[1]) for name in sets},
    )


def _rows(series: Series, size: int, seed: int) -> Float[np.ndarray, "n dim"]:
    x = series.x[draw(len(series), size, seed)]
    return x.reshape(len(x), -1).astype(np.float64)


def _tsne(rows: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    pooled = np.concatenate(list(rows.values()))
    axes = min(TSNE_AXES, *pooled.shape)
    reduced = PCA(axes, random_state=seed).fit_transform(pooled)
    perplexity = min(PERPLEXITY, (len(pooled) - 1) / 3)
    found = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    ends = np.cumsum([len(x) for x in rows.values()])[:-1]
    return dict(zip(rows, np.split(np.asarray(found), ends), strict=True))
