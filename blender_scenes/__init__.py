"""What a scene is, how one is sampled, and (in `blender`) how it becomes a Blender scene."""
