"""Fast rendering: separate light and colours, composited backgrounds, adaptive samples."""
