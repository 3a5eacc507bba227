"""From a test study to its 25 answers.

study            a study's series, read once
grading          crops at the found sites, graded by an ensemble
pipeline         all runs of a folder on one study
findings         the rows of findings.csv
fallback_prior   the prior for what cannot be read
predict_studies  many studies, a complete file at every moment
"""
