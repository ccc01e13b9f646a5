"""Many Blender processes: plans missing videos, renders them and seals shards."""
