"""The part of the scenes that needs Blender: run it inside a Blender worker process only."""
