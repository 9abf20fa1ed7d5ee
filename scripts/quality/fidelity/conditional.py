"""Label fidelity: do the labels mean in the synthetic set what they mean in the real one?"""

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from classifier.fixed_features import RandomConvolutions, summary_features
from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport, auc_interval, bounded
from scripts.quality.common.registry import FIDELITY, metric, surely_below

MAX_ROWS = 5000
NUM_KERNELS = 64


def probe_auc(
    fit_features: Float[np.ndarray, "n feature"],
    fit_labels: Int[np.ndarray, " n"],
    features: Float[np.ndarray, "m feature"],
    labels: Int[np.ndarray, " m"],
) -> tuple[float, float, float]:
    """AUC on (features, labels) of a logistic probe fitted on the first two arguments; interval.

    More than two classes: mean of one-against-rest AUCs, and of the ends of their intervals, over
    the classes present in both.
    """
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, max_iter=300, class_weight="balanced")
    )
    probabilities = model.fit(fit_features, fit_labels).predict_proba(features)
    classes = list(model.classes_)
    scored = [k for k in classes if 0 < (labels == k).sum() < len(labels)]
    rows = []
    for k in scored:
        auc = float(roc_auc_score(labels == k, probabilities[:, classes.index(k)]))
        positives = int((labels == k).sum())
        rows.append((auc, *auc_interval(auc, positives, len(labels) - positives)))
    auc, low, high = np.mean(rows, axis=0).tolist()
    return auc, low, high


@metric(
    FIDELITY,
    surely_below("label_auc_of_real_probe", 0.05, "series do not carry their label"),
    surely_below("label_auc_of_synthetic_probe", 0.05, "labels mean something else"),
)
def conditional_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Two probes of the label; in the references, training series stand for the synthetic ones.

    `label_auc_of_real_probe`: fitted on held-out series, scored on the synthetic labels (do
    synthetic series carry their label?). `label_auc_of_synthetic_probe`: fitted on synthetic,
    scored on held-out series (is it the real label?). Shuffled labels bring both to 0.5.
    """
    part = comparison.matched(MAX_ROWS, seed)
    labels = {name: side.data.labels for name, side in part.sides.items()}
    lacking = [name for name, values in labels.items() if len(np.unique(values)) < 2]
    if lacking:
        return MetricReport(
            remarks=[f"label probes: one class only in the {', '.join(lacking)} set"]
        )
    encoder = RandomConvolutions(*part.train.x.shape[1:], num_kernels=NUM_KERNELS, seed=seed)
    inputs = {
        name: np.hstack([encoder(side.x), summary_features(side.x)])
        for name, side in part.sides.items()
    }
    values: dict[str, float] = {}
    for probe, fit, score in (
        ("real", "holdout", "synthetic"),
        ("synthetic", "synthetic", "holdout"),
    ):
        auc, low, high = probe_auc(inputs[fit], labels[fit], inputs[score], labels[score])
        fit, score = ("train" if side == "synthetic" else side for side in (fit, score))
        reference = probe_auc(inputs[fit], labels[fit], inputs[score], labels[score])[0]
        values |= bounded(f"label_auc_of_{probe}_probe", auc, (low, high), reference)
    return MetricReport(values=values)
