"""What all tasks share: configuration, loop, optimizers, run folders, tuning.

config        hyperparameters, epoch metrics, what makes a run
config_schema config.json read back, entry by entry
presets       hyperparameters from TOML
splits        train, validation and test rows of a run
augmentation  random transforms of crops
site_jitter   crops shifted as a locator's sites are
mirror        left-right flip of a crop, with the label swap
mixup         convex combinations of a batch's crops and labels
data_loading  batches from a torch DataLoader and its sampler
trainer       the training loop, early stopping
predictor     a model at inference on its device
selection     the epoch whose weights are kept
optimizers    optimizers; the learning rate schedule with warmup
batch_norm    batch norm statistics recomputed
checkpoint    resumable training checkpoints
distributed   several processes: DDP and reductions
epoch_bar     progress of an epoch on a terminal
device        device and number format (mixed precision)
run_folder    run folders: config, history, weights, predictions
run_lock      one training of a run at a time
run_cost      what a run cost: time, parameters
run_commands  the command lines that trained runs
jobs          the runs of one command side by side
step_time     the time of a training step, for an estimate
step_operations  its operations, for a GPU that is not here
train_run     one run from its task to its folder
tuning        hyperparameter search with Optuna
"""
