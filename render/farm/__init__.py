"""Many Blender processes: which videos are missing, who renders them, what seals a shard."""
