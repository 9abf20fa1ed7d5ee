"""The raw simulator's eICU: one row per stay and time, one column per vital, minutes as time."""

from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.simulated_release import charting as chart
from tests.support.simulated_release.charting import Readings
from tests.support.simulated_release.stays import RawStays
from tests.support.simulated_release.writer import TableWriter

STEPS, STEP_SECONDS = 288, 300
FAULT_KINDS = ("slip", "swap", "copy", "wild")  # what a table without items and marks can show
COLUMNS = {
    "heart_rate": "heartrate",
    "systolic_pressure": "systemicsystolic",
    "diastolic_pressure": "systemicdiastolic",
    "mean_pressure": "systemicmean",
    "respiratory_rate": "respiration",
    "temperature": "temperature",
    "spo2": "sao2",
}
CHART_COLUMNS = (
    "vitalperiodicid patientunitstayid observationoffset temperature sao2 heartrate respiration "
    "cvp etco2 systemicsystolic systemicdiastolic systemicmean pasystolic padiastolic pamean st1 "
    "st2 st3 icp"
).split()
_PATIENT_COLUMNS = (
    "patientunitstayid patienthealthsystemstayid gender age hospitaldischargeyear "
    "hospitaldischargestatus unitvisitnumber unitdischargeoffset uniquepid"
).split()


def write_stay_tables(folder: Path, stays: RawStays) -> None:
    """The table patient."""
    frame = pd.DataFrame(
        {
            "stay": stays.stay,
            "admission": stays.admission,
            "gender": np.where(stays.male, "Male", "Female"),
            "age": np.where(stays.age > 89, "> 89", np.floor(stays.age).astype(int).astype(str)),
            "year": 2014 + stays.second_stay,
            "status": np.where(stays.died, "Expired", "Alive"),
            "offset": np.round(stays.hours * 60).astype(int),
            "person": [f"002-{subject}" for subject in stays.subject],
        }
    )
    with TableWriter(folder / "patient.csv.gz", _PATIENT_COLUMNS, []) as table:
        table.append(
            'SELECT stay, admission, gender, age, year, status, 1, "offset", person FROM frame',
            frame=frame,
        )


def charting(
    rng: np.random.Generator, stays: RawStays, rows: np.ndarray
) -> tuple[np.ndarray, Readings]:
    """Truth (n, channel, step), NaN where unmeasured, and the readings with their faults."""
    series = chart.true_series(rng, stays.severity[rows], STEPS)
    measured = rng.random(series.shape) < 0.95
    lines = rng.random(len(rows)) < 0.3  # an arterial line and a temperature probe are not usual
    for channel in (*chart.PRESSURES, chart.TEMPERATURE):
        measured[:, channel] &= lines[:, None]
    measured[:, chart.PRESSURES[1:]] = measured[:, [chart.SYSTOLIC]]
    truth = np.where(measured, series, np.nan)
    phase = 60 * rng.integers(0, 4, len(rows))  # the monitor's clock within a step
    stay, channel, step = np.nonzero(measured)
    second = step * STEP_SECONDS + phase[stay]
    readings = chart.plain_readings(rows[stay], channel, second, series[measured])
    charted = chart.add_faults(
        rng,
        readings,
        kinds=FAULT_KINDS,
        can_mark=np.zeros(len(readings), bool),
        apart_seconds=60,
    )
    return truth, chart.during_stay(charted, stays)


def append_chart(
    table: TableWriter,
    rng: np.random.Generator,
    stays: RawStays,
    rows: np.ndarray,
    readings: Readings,
    num_other: int,
    first_row: int,
) -> int:
    """Writes the readings of `rows` and `num_other` later rows; returns how many."""
    raw = _raw(readings)
    main = ~readings.extra
    key = readings.stay.astype(np.int64) * 10_000_000 + readings.second
    times, place = np.unique(key[main], return_inverse=True)
    extras = np.flatnonzero(readings.extra)
    cells = np.full((len(times) + len(extras), len(chart.CHANNELS)), np.nan)
    cells[place, readings.channel[main]] = raw[main]
    cells[len(times) + np.arange(len(extras)), readings.channel[extras]] = raw[extras]
    every = np.concatenate([times, key[extras]])
    frame = pd.DataFrame(cells, columns=list(COLUMNS.values()))
    frame["stay"] = stays.stay[every // 10_000_000]
    frame["minute"] = every % 10_000_000 // 60
    frame = pd.concat([frame, _other_rows(rng, stays, rows, num_other)])
    frame["shuffle"] = rng.permutation(len(frame))
    vitals = ", ".join(name if name in COLUMNS.values() else "NULL" for name in CHART_COLUMNS[3:])
    table.append(
        f"SELECT shuffle + {first_row}, stay, minute, {vitals} FROM frame ORDER BY shuffle",
        frame=frame,
    )
    return len(frame)


def slip_counts(stays: RawStays, readings: Readings) -> dict[str, int]:
    """The temperature slips that the clinical cohort meets: eICU's column is in Celsius."""
    met = readings.has("slip") & (readings.channel == chart.TEMPERATURE)
    met &= stays.eligible[readings.stay] & (readings.second < STEPS * STEP_SECONDS)
    return {"fahrenheit_under_celsius_item/temperature": int(met.sum())}


def _raw(readings: Readings) -> np.ndarray:
    slip = readings.has("slip")
    fahrenheit = slip & (readings.channel == chart.TEMPERATURE)
    fraction = slip & (readings.channel == chart.SPO2)
    raw = np.where(fahrenheit, np.round(readings.value * 1.8 + 32, 1), readings.value)
    return np.where(fraction, np.round(readings.value / 100, 4), raw)


def _other_rows(
    rng: np.random.Generator, stays: RawStays, rows: np.ndarray, num_other: int
) -> pd.DataFrame:
    """Before admission or after the first day, where nothing may be read."""
    stay = rng.choice(rows, num_other)
    late = 1440 + (rng.random(num_other) * (stays.hours[stay] * 60 - 1440)).astype(np.int64)
    early = (rng.random(num_other) < 0.02) | (late < 1440)
    minute = np.where(early, -rng.integers(1, 60, num_other), late)
    return pd.DataFrame(
        {
            "stay": stays.stay[stay],
            "minute": minute,
            "heartrate": rng.integers(150, 180, num_other).astype(float),
            "sao2": 60.0,
        }
    )
