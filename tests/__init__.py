"""The tests, in the folders of what they test."""

import os

from vosforge.processes import same_arithmetic

# Before numpy is imported: what tests make must equal what Blender's processes make.
os.environ.update(same_arithmetic())
