"""From scene to shard: the Blender engine and its process, the Ray pool, the HDF5 shards."""
