"""The Blender process: the engine, its jobs and the records they write."""
