"""One DICOM series: geometry, pixels, slice order, crops and overviews.

geometry      pixels to patient millimetres and back
dicom         one file: its header, its plane, its pixels
dicom_file    one pass over a file: its tags, and where its pixels are
dicom_tags    tags read as meant where that is safe
decoding      stored values of every transfer syntax
codestream    what a compressed image says of itself
jpeg_lossless JPEG Lossless, decoded here
tissue        pixels that show none: padding, burnt-in text
dicom_errors  pydicom silenced, its errors in one sentence
orientation   stored images turned to fixed patient axes
slice_order   slices in patient order, split into stacks
contrast      echoes, phases and stations at one position told apart
series        a series, decoded on demand
series_type   a series' type by its row, its planes and its header
grey_levels   values to the 256 levels of a crop
crops         what a crop is, and extracting it
overview      all slices of a series type at one scale
views         where a series shows a point marked on another
"""
