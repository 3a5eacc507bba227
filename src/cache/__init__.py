"""Many studies on the disk, resumable and checked.

build_crops     from points and folders to a crop cache
crop_cache      opening a finished crop cache
crop_shards     one series' crops, extracted by one worker
crop_views      the sites in a study's other series types: which to cut, which to keep
data_check      a download read whole, and what is odd about it
data_origin     whether the data are phantoms, and the command
finding         a finding of the check: a row of check.csv
fingerprint     what a cache was made from
found_sites     found sites in place of the marked points
import_folder   any DICOM folder written as a test set, and its tables
label_checks    marked points that contradict geometry
lenient_tables  the CSVs with all their faults, for the check
mapped_array    a .npy file mapped into memory, pickled as its path
overview_cache  all overviews in one array
series_checks   the check's kinds of finding within a series
series_facts    what the check needs to know of a series
shards          the pipeline of both caches: a shard a series, then one array
study_checks    the check's kinds of finding across series and tables
"""
