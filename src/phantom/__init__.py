"""A phantom cohort in the competition's layout, with known ground truth.

spine         the spine's curve and its straight coordinates
variants      anatomy that makes naming levels doubtful
anatomy       a person: sizes along the spine, the sites
tissue        brightness of tissues by contrast
canvas        soft shapes in straight coordinates
painting      structures painted on a slice
scanner       slices with contrast, shading and noise
protocol      series, planes and quirks of a study
header        what a series' header says of its contrast
rater         narrowing, labels, the ideal observer
dicom_writer  slices written as DICOM
study         one study: its DICOM files and marked points
cohort        a whole competition and its ground truth
"""
