"""One DICOM series: geometry, pixels, slice order, crops and overviews.

geometry      pixels to patient millimetres and back
dicom         one file: its header, its plane, its pixels
dicom_file    one pass over a file: its tags, and where its pixels are
dicom_tags    tags read as meant where that is safe
dicom_folder  the slices that any folder of files holds, by their headers
mr_frames     the frames of an enhanced file, each with tags of its own
source_series a folder's slices sorted into series to be read as one
clean_slice   a slice written anew: the stated tags and no other
clean_stream  a compressed image without the texts beside its pixels
decoding      stored values of every transfer syntax
codestream    what a compressed image says of itself
jpeg_lossless JPEG Lossless, decoded here
tissue        pixels that show none: padding, burnt-in text
dicom_errors  pydicom silenced, its errors in one sentence
orientation   stored images turned to fixed patient axes
slice_order   slices in patient order, split into stacks
contrast      echoes, phases and stations at one position told apart
series        a series, decoded on demand
planes        the anatomical plane of slices
weighting     the contrast that a spin echo's times give
series_words  words of descriptions, by vendors and languages
series_type   a series' type by its row, its planes and its header
classify_series  any hospital series' type by its headers
grey_levels   values to the 256 levels of a crop
crops         what a crop is, and extracting it
overview      all slices of a series type at one scale
views         where a series shows a point marked on another
"""
