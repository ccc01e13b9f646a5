"""Where the models, textures and surroundings of a scene come from: one catalog, one prepared format, one store."""
