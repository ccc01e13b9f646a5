"""Where rays meet surfaces, from the spec and the meshes alone."""
