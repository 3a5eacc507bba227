"""Many studies on the disk, resumable and checked.

build_crops     from points and folders to a crop cache
crop_cache      opening a finished crop cache
fingerprint     what a cache was made from
label_checks    marked points that contradict geometry
overview_cache  all overviews in one array
shards          one series' crops, extracted by one worker
"""
