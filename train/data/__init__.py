"""Samples for training: clips, frames with scribbles, fusion's states, and their augmentation."""
