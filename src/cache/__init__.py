"""Many studies on the disk, resumable and checked.

build_crops     from points and folders to a crop cache
crop_cache      opening a finished crop cache
crop_shards     one series' crops, extracted by one worker
fingerprint     what a cache was made from
label_checks    marked points that contradict geometry
mapped_array    a .npy file mapped into memory, pickled as its path
overview_cache  all overviews in one array
shards          the pipeline of both caches: a shard a series, then one array
"""
