"""Maps of all series in two dimensions: principal components and t-SNE, real behind synthetic."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from scripts.quality.common.comparison import draw
from scripts.report.figures import Styles, tidy
from scripts.report.page import Picture
from scripts.utility.protocols import Series

MAX_STAYS = 400  # of each source: t-SNE is the costliest picture of the report
PERPLEXITY = 30.0
TSNE_AXES = 30


def embedding_picture(
    test: Series, sets: Mapping[str, Series], styles: Styles, *, seed: int
) -> Picture:
    """Equally many held-out stays and series of each set, in the same two maps."""
    sources = {"real": test} | dict(sets)
    size = min(MAX_STAYS, *map(len, sources.values()))
    rows = {name: _rows(series, size, seed) for name, series in sources.items()}
    pca = PCA(2, random_state=seed).fit(rows["real"])
    maps = {"principal components": {name: pca.transform(x) for name, x in rows.items()}}
    maps["t-SNE"] = _tsne(rows, seed)
    figure = Figure(figsize=(1.0 + 3.1 * max(len(sets), 2), 6.2), layout="constrained")
    panels = figure.subplots(2, len(sets), squeeze=False)
    for row, (title, points) in enumerate(maps.items()):
        for column, name in enumerate(sets):
            axes = panels[row, column]
            axes.scatter(*points["real"].T, s=7, color="0.6", label="held-out real")
            axes.scatter(
                *points[name].T, s=7, color=styles.colour(name), alpha=0.6, label=name, marker="x"
            )
            axes.set(xticks=[], yticks=[], title=f"{name}: {title}")
            axes.title.set_fontsize(9)
            tidy(axes)
    shares = pca.explained_variance_ratio_
    caption = " ".join(_conclusion(name, rows, maps["principal components"]) for name in sets)
    return Picture(
        "embedding",
        figure,
        f"Maps by principal components and t-SNE: held-out stays in grey, {', '.join(sets)} as "
        "coloured crosses",
        f"{caption} The two components, fitted on {len(rows['real'])} held-out stays, hold "
        f"{100 * shares.sum():.0f} % of their variance. A good set covers the grey points and "
        "nothing else; distances between t-SNE clusters mean nothing.",
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


def _conclusion(name: str, rows: Mapping[str, np.ndarray], points: Mapping[str, np.ndarray]) -> str:
    """How the spread of a set along the real components compares with that of the real stays."""
    ratios = points[name].std(axis=0) / points["real"].std(axis=0)
    own = rows[name].var(axis=0).sum() / rows["real"].var(axis=0).sum()
    return (
        f"{name}: spread along the first two real components {ratios[0]:.2f} and {ratios[1]:.2f} "
        f"times the real one, total variance {own:.2f} times."
    )
