"""The default recipe sees a short shape in a long series, where that of 0.1 stayed at chance."""

import pytest
from sklearn.metrics import roc_auc_score

from classifier.models.networks import RNNClassifier
from classifier.training import FitRecipe, fit_classifier, predict_logits
from configs import from_sections
from configs.schema.experiment import ClassifierConfig
from tests.support.local_shapes import KINDS, local_shapes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wafer_152", "mirrored_200x2"])
def test_the_recurrent_classifier_sees_local_shapes(kind):
    train, select, scored = (
        local_shapes(KINDS[kind], count, seed) for seed, count in enumerate((800, 400, 2000))
    )
    _, channels, length = train[0].shape
    fitted = fit_classifier(
        train,
        select,
        build=lambda: RNNClassifier(channels, length, 1, cell="lstm", layers=1),
        recipe=from_sections(FitRecipe, ClassifierConfig()),
        seed=0,
    )
    logits = predict_logits(fitted.model, scored[0])[:, 0]
    assert roc_auc_score(scored[1], logits) >= 0.95
