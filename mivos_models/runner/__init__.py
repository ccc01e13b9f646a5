"""The interactive runner: strokes and clicks in, masks of a whole video out."""
