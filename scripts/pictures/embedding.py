"""Maps of all series in two dimensions: principal components and t-SNE, real and synthetic."""

from collections.abc import Mapping

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from scripts.pictures.styles import Picture, Styles, new_panels
from scripts.quality.common.comparison import draw
from scripts.utility.protocols import REAL, EncodedArrays

MAX_SERIES = 400  # of each source: t-SNE is the costliest of all maps
PERPLEXITY = 30.0
# Of Barnes-Hut: a quarter less time than the library's 0.5 at the same divergence (2.40 and 2.41).
ANGLE = 0.8
TSNE_AXES = 30


def embedding_picture(
    test: EncodedArrays, sets: Mapping[str, EncodedArrays], styles: Styles, *, seed: int
) -> Picture:
    """Equally many held-out series and series of each set in the same maps: a row per map, a column
    per set."""
    sources = {REAL: test} | dict(sets)
    size = min(MAX_SERIES, *map(len, sources.values()))
    rows = {
        name: series.x[draw(len(series), size, seed)].reshape(size, -1).astype(np.float64)
        for name, series in sources.items()
    }
    pca = PCA(2, random_state=seed).fit(rows[REAL])
    components = {name: pca.transform(x) for name, x in rows.items()}
    maps = {"principal components": components, "t-SNE": _tsne(rows, seed)}
    width = 1.0 + 3.1 * max(len(sets), 2)
    shared = {"sharex": "row", "sharey": "row"}  # the same point at the same place for every set
    figure, panels = new_panels(width, 6.2, rows=len(maps), columns=len(sets), **shared)
    for row, (title, points) in enumerate(maps.items()):
        for axes, name in zip(panels[row], sets, strict=True):
            axes.scatter(*points[REAL].T, s=7, color="0.6", label="held-out real")
            style = {"color": styles.colour(name), "alpha": 0.6, "marker": "x"}
            axes.scatter(*points[name].T, s=7, label=name, **style)
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{name}: {title}", fontsize=9)
    # Each set has its own column: the entry of the real series is that of the first.
    entries = [panel.get_legend_handles_labels() for panel in panels[0]]
    handles = [entries[0][0][0], *(found[0][1] for found in entries)]
    figure.legend(handles, ["held-out real", *sets], loc="outside lower center", ncols=4)
    deviation, variance = components[REAL].std(axis=0), rows[REAL].var(axis=0).sum()
    caption = " ".join(
        "{}: spread along the first two real components {:.2f} and {:.2f} times the real one, "
        "total variance {:.2f} times.".format(
            name,
            *components[name].std(axis=0) / deviation,
            rows[name].var(axis=0).sum() / variance,
        )
        for name in sets
    )
    return Picture(
        "embedding",
        figure,
        f"Maps by principal components and t-SNE: held-out series in grey, {', '.join(sets)} as "
        "coloured crosses",
        f"{caption} The two components, fitted on {size} held-out series, hold "
        f"{100 * pca.explained_variance_ratio_.sum():.0f} % of their variance. A good set covers "
        "the grey points and nothing else. Distances between t-SNE clusters have no meaning.",
    )


def _tsne(rows: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    pooled = np.concatenate(list(rows.values()))
    axes = min(TSNE_AXES, *pooled.shape)
    reduced = PCA(axes, random_state=seed).fit_transform(pooled)
    perplexity = min(PERPLEXITY, (len(pooled) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, angle=ANGLE)
    found = tsne.fit_transform(reduced)
    ends = np.cumsum([len(x) for x in rows.values()])[:-1]
    return dict(zip(rows, np.split(np.asarray(found), ends), strict=True))
