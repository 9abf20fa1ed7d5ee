"""Real series of other patients in place of a synthetic set raise no flag on real data.

Simulated charts have few gaps and one shape of noise; what real ones do to a metric (scores of
whole points, stays with two measurements) shows here alone.
"""

import pytest

from configs import load_config
from data_preprocess.build import ensure_built, load_splits
from scripts.quality.common.registry import raised_flags
from scripts.quality.held_out_copies import held_out_copies
from scripts.quality.suite import quality_report

SOURCES = {
    "physionet2012_fast": ["physionet2012.folder=physionet2012"],
    "yaib_eicu_los": ["yaib.folder=yaib_demo/los", "yaib.subjects=eicu_demo/patient.csv.gz"],
}


@pytest.mark.parametrize("name", SOURCES)
def test_real_stays_pass_for_a_perfect_set(name, open_data, tmp_path):
    paths = [f"data.{path.replace('=', f'={open_data}/')}" for path in SOURCES[name]]
    config = load_config([f"configs/base/{name}.yaml", f"data.dir={tmp_path}", *paths])
    ensure_built(config.data)
    splits = load_splits(config.data)
    assert held_out_copies(splits, {"guide": splits.val_guide, "train": splits.train}) == {}
    for kind, made in (("fidelity", splits.train), ("privacy", splits.val_guide)):
        report = quality_report(
            kind, splits.train, splits.test, made, normaliser=splits.normaliser, seed=0
        )
        assert [flag.metric for flag in raised_flags(report.values)] == []
