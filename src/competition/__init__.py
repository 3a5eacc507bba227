"""The competition itself: tables, folds, metric; no torch, no pixels.

constants     conditions, levels, severities and the 25 targets
csv_schema    CSVs read by their declared columns
tables        the competition's five CSVs
folds         study-level splits and folds; the leaky row split
metric        the weighted log loss and its four terms
prior         constant predictions: the floor to beat, the fallback
known_issues  series, studies and points that others found to be bad
submission    making, checking, reading and writing submission files
"""
