"""One DICOM series: geometry, pixels, slice order, crops and overviews.

geometry      pixels to patient millimetres and back
dicom         one file: its header, its plane, its pixels
decoding      stored values of every transfer syntax
dicom_errors  pydicom kept quiet, its errors in one sentence
slice_order   slices in patient order, stacks told apart
series        a series, decoded when asked for
crops         what a crop is, and extracting it
overview      every slice of a series type at one scale
"""
