"""Ray casting on the spec and the meshes, without Blender."""
