"""Classification of crops: which condition, how severe.

labels            class labels and class weights of each task
crop_dataset      crops as batches of tensors
site_dataset      sites with all their views as batches of tensors
soft_labels       training labels softened by teachers
view_loss         the loss of a network that sees all views
crop_task         the condition and severity tasks, put together
predictions       a run's predictions.csv, validated
accuracy          top-1, confusion, precision, recall, intervals
baselines         accuracies without a network
leakage           train/test overlap
variants          how a backbone was trained, named
aggregate         runs pooled over folds and seeds
ensemble          the rule that averages runs' probabilities
calibration       the correction of an ensemble's probabilities, and its file
family_sites      a family's graded sites, and what a correction of them gains
calibration_fit   its fit, chosen and judged by nested folds
prior_comparison  each family beside the prior, and a warning where it is no better
paired_bootstrap  intervals of paired differences over resampled studies
paired_comparison which entries share test rows, and which one is better
severity_metrics  scores of severity runs
"""
