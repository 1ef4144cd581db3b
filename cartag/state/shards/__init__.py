"""An index as a folder: a header, shards of photos and tags as Parquet, and one small file for each shard that is done.

What no such small file names does not exist. Rooms ask `cartag.state` for the names that they need of it.
"""
