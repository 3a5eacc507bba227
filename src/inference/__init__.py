"""From a test study to its 25 predictions.

study            a study's series, read once
site_views       where each series type shows the sites
grading          crops at the found sites, predicted by an ensemble
attention        where the severity models look, by view and slice
pipeline         all runs of a folder on one study
findings         the rows of findings.csv
doubt            how likely a grade is wrong
review           the findings that a person should look at first
fallback_prior   the prior for sites that cannot be graded
predicted_study  all that was found in one study
predict_studies  many studies; a complete submission at any time
"""
