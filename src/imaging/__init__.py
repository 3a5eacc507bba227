"""One DICOM series: geometry, pixels, slice order, crops and overviews.

geometry      pixels to patient millimetres and back
dicom         one file: its header, its plane, its pixels
decoding      stored values of every transfer syntax
dicom_errors  pydicom silenced, its errors in one sentence
slice_order   slices in patient order, split into stacks
series        a series, decoded on demand
crops         what a crop is, and extracting it
overview      all slices of a series type at one scale
"""
