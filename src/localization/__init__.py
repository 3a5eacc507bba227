"""Localization of the sites.

series_dataset         overviews with their sites as batches
keypoint_augmentation  random transforms that take keypoints along
heatmaps               target heatmaps, their cross-entropy, peaks
location_task          the location task
out_of_fold            sites of unseen studies, found by each fold's ensemble
predict_heatmaps       heatmaps of an ensemble of locators
heatmap_peaks          peaks of a target on the heatmap grid
level_assignment       five levels by dynamic programming (Viterbi)
spine_prior            offsets from the canal, spacing of levels
locate                 a study's 25 sites
level_shift            how likely all levels are off by one
location_metrics       errors of located sites against marked ones
"""
