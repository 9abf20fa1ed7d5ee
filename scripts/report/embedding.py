"""Picture of the maps in two dimensions: held-out series in grey, synthetic ones in colour."""

from matplotlib.figure import Figure

from scripts.report.figures import Styles, tidy
from scripts.report.page import Picture
from scripts.results.embedding import Maps
from scripts.utility.protocols import REAL


def embedding_picture(maps: Maps, styles: Styles) -> Picture:
    """One row per map, one column per set."""
    sets = list(maps.spreads)
    figure = Figure(figsize=(1.0 + 3.1 * max(len(sets), 2), 6.2), layout="constrained")
    panels = figure.subplots(len(maps.points), len(sets), squeeze=False)
    for row, (title, points) in enumerate(maps.points.items()):
        for column, name in enumerate(sets):
            axes = panels[row, column]
            axes.scatter(*points[REAL].T, s=7, color="0.6", label="held-out real")
            style = {"color": styles.colour(name), "alpha": 0.6, "marker": "x"}
            axes.scatter(*points[name].T, s=7, label=name, **style)
            axes.set(xticks=[], yticks=[], title=f"{name}: {title}")
            axes.title.set_fontsize(9)
            tidy(axes)
    caption = " ".join(
        f"{name}: spread along the first two real components {first:.2f} and {second:.2f} times "
        f"the real one, total variance {maps.variances[name]:.2f} times."
        for name, (first, second) in maps.spreads.items()
    )
    size = len(maps.points["t-SNE"][REAL])
    return Picture(
        "embedding",
        figure,
        f"Maps by principal components and t-SNE: held-out series in grey, {', '.join(sets)} as "
        "coloured crosses",
        f"{caption} The two components, fitted on {size} held-out series, hold "
        f"{100 * maps.explained:.0f} % of their variance. A good set covers the grey points and "
        "nothing else. Distances between t-SNE clusters have no meaning.",
    )
