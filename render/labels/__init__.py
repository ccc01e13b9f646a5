"""Optional passes and point tracks."""
