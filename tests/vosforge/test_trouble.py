import errno
import os

import pytest

from vosforge.errors import InputError, MachineError
from vosforge.trouble import attempting, trouble, unread


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (OSError(errno.EIO, "x"), os.strerror(errno.EIO)),
        (PermissionError(errno.EACCES, "x"), os.strerror(errno.EACCES)),
        (RuntimeError("Unable to write\n(errno = 28, error)"), os.strerror(errno.ENOSPC)),
        (MemoryError(), "not enough memory"),
        (OSError("required filter 'blosc' is not registered"), "a filter of HDF5 cannot be loaded"),
        (OSError("truncated file: eof = 96, sblock->base_addr = 0"), None),
        (OSError(errno.EINVAL, "x"), None),
        (FileNotFoundError(errno.ENOENT, "x"), None),
        (RuntimeError("filter returned failure during read"), None),
        (ValueError("x"), None),
    ],
)
def test_the_machines_errors_are_told_from_those_of_content(error, found):
    assert trouble(error) == found
    content = InputError("damaged")
    assert (unread("it", error, content) is content) == (found is None)


def test_whatever_the_system_has_against_writing_is_one_sentence():
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ENOENT, errno.EFBIG, errno.EINVAL):
        told = r"cannot write to data \(.*run the same command again"
        with pytest.raises(MachineError, match=told), attempting("write to data"):
            raise OSError(number, "x")
    with pytest.raises(RuntimeError, match="a bug"), attempting("write to data"):
        raise RuntimeError("a bug")
