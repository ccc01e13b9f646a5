"""The tests, in the folders of what they test."""

import os

from vosforge.processes import same_arithmetic

# Before numpy is imported: what tests make must equal what Blender's processes make.
os.environ.update(same_arithmetic())
# The networks here are so small that threads only wait for one another, most of all on a busy machine. Processes that
# tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
