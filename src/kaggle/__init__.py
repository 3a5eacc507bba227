"""Kaggle: bundling, publishing, the notebooks and their rehearsal.

names             competition, dataset, notebooks: owner/slug
mounts            inputs found under /kaggle/input
manifest          manifest.json: hashes of a kit
kit               code and weights in one folder
wheels            optional decoders for Kaggle
bundle            staging a dataset and two notebooks
lint              metadata checked before Kaggle sees it
cli               the kaggle CLI: commands, results, outages
polling           asking again, through outages
push_record       what was pushed, for --follow
datasets          uploading the dataset
kernels           pushing and following notebooks, submitting
publish           upload, push, follow, fetch, submit
download          the competition, resumable
run_inference     what the inference notebook runs
run_training      what the training notebook runs
full_run          a download to a submission, a report and a kit
run_plan          the full run's networks, batches and processes
step_memory       what a training step needs, estimated
run_estimate      its time and space, from what is measured here
training_hours    the hours of its trainings on a GPU that is not here
run_summary       its summary, to paste into an issue
notebook_display  tables and pictures in the notebook
rehearse          the hidden rerun, offline
"""
