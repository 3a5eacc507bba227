"""Classification of crops: which condition, how severe.

labels            class labels and class weights of each task
crop_dataset      crops as batches of tensors
crop_task         the condition and severity tasks, put together
predictions       a run's predictions.csv, validated
accuracy          top-1, confusion, precision, recall, intervals
baselines         accuracies without a network
leakage           train/test overlap
variants          how a backbone was trained, named
aggregate         runs pooled over folds and seeds
ensemble          the rule that averages runs' probabilities
calibration       temperatures fitted out of fold
severity_metrics  scores of severity runs
"""
