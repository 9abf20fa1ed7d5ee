"""PTB: R peaks at known times, and (where wfdb is installed) records in PhysioNet's layout."""

from pathlib import Path

import numpy as np
import pytest

from configs.runtime.errors import DataError, MissingInputError
from data_preprocess.sources.ptb import r_peaks, read_ptb, record_beats
from tests.support import sections

RATE = 1000


def ecg(peaks, seconds=10, noise=0.02, seed=0):
    """A QRS-like spike of 1 mV at every peak (s), a T wave after it, drift and noise."""
    t = np.arange(seconds * RATE) / RATE
    rng = np.random.default_rng(seed)
    wave = noise * rng.normal(size=len(t)) + 0.3 * np.sin(2 * np.pi * 0.2 * t)
    for peak in peaks:
        wave += np.exp(-(((t - peak) / 0.012) ** 2)) + 0.2 * np.exp(
            -(((t - peak - 0.3) / 0.06) ** 2)
        )
    return wave


PEAKS = np.array([0.9, 1.75, 2.7, 3.4, 4.3, 5.2, 6.0, 6.9, 7.8, 8.6])


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_r_peaks_are_found_whatever_the_amplitude(scale):
    found = r_peaks(scale * ecg(PEAKS), float(RATE)) / RATE
    assert len(found) == len(PEAKS)
    assert np.abs(found - PEAKS).max() < 0.02


def test_a_beat_has_its_peak_at_a_third_in_every_lead():
    signal = np.stack([0.5 * ecg(PEAKS, seed=1), ecg(PEAKS)], axis=1)
    beats = record_beats(signal, ("i", "ii"), 1000.0, 250.0, 300, Path("x.hea"))
    assert beats.shape == (10, 2, 300)
    # The next beat may lie in the sample too, so the peak is sought near its place.
    assert np.abs(beats[:, :, 60:140].argmax(axis=2) - 40).max() <= 5


def test_beats_cut_off_by_the_record_are_left_out():
    beats = record_beats(ecg([0.1, 5.0, 9.9])[:, None], ("ii",), 1000.0, 250.0, 300, Path("x"))
    assert len(beats) == 1
    with pytest.raises(DataError, match="no lead ii"):
        record_beats(ecg([1.0])[:, None], ("v1",), 1000.0, 250.0, 300, Path("x"))
    with pytest.raises(DataError, match="cannot resample"):
        record_beats(ecg([1.0])[:, None], ("ii",), 1000.0, 250.4, 300, Path("x"))


@pytest.mark.filterwarnings("ignore")  # wfdb's own use of pandas
def test_records_in_the_layout_of_physionet(tmp_path):
    wfdb = pytest.importorskip("wfdb", reason="optional extra: pip install -e .[ecg]")
    reasons = {1: "Myocardial infarction", 2: "Healthy control", 3: "Bundle branch block"}
    for patient, reason in reasons.items():
        folder = tmp_path / f"patient{patient:03d}"
        folder.mkdir()
        signal = np.stack([ecg(PEAKS, seed=patient), ecg(PEAKS, seed=9)], axis=1)
        wfdb.wrsamp(
            "s0001re",
            fs=RATE,
            units=["mV", "mV"],
            sig_name=["i", "ii"],
            p_signal=signal,
            fmt=["16", "16"],
            comments=["age: 50", f"Reason for admission: {reason}"],
            write_dir=str(folder),
        )
    beats = {"window_hours": 1.2 / 3600, "step_minutes": 1 / (250 * 60)}
    cohort, test, *_ = sections.read(read_ptb, "ptb", folder=str(tmp_path), **beats)
    assert test is None
    assert cohort.values.shape == (20, 2, 300)
    assert cohort.labels.tolist() == [1] * 10 + [0] * 10
    assert cohort.subject_ids.tolist() == [1] * 10 + [2] * 10
    assert [step.left for step in cohort.flow] == [3, 2]
    assert cohort.feature_names == ("i[mV]", "ii[mV]")
    with pytest.raises(MissingInputError, match="no patient"):
        sections.read(read_ptb, "ptb", folder=str(tmp_path / "patient001"), **beats)
