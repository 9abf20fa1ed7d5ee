"""Hospital databases: MIMIC-III, MIMIC-IV and eICU, cohort rules, resampling."""
