"""Sources of a scene's models, textures and HDRIs: one catalog, one prepared format, one store."""
