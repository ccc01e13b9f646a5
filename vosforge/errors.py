"""The errors a user can fix. Any other exception is a bug and keeps its traceback."""


class VOSForgeError(Exception):
    """Base of all errors a user can fix: one sentence with the cause and the remedy."""

    exit_code = 1


class InputError(VOSForgeError):
    """The user's input is unusable: a wrong key, a bad value, a missing or unreadable path."""

    exit_code = 2


class MachineError(VOSForgeError):
    """The machine failed (disk, memory, locks, network) and nothing is known to be wrong with the data."""

    def __init__(self, sentence: str, why: str = "") -> None:
        """``why``: what failed, in a few words."""
        super().__init__(sentence)
        self.why = why or sentence


class UnreachableError(MachineError, InputError):
    """A store (a URL) does not answer as it should: perhaps it will later, or its address is wrong."""


class QuarantinedError(VOSForgeError):
    """Everything is done except quarantined videos."""

    exit_code = 3


def first_line(error: Exception) -> str:
    """An error's message on one line."""
    return (str(error).splitlines() or [""])[0].strip(" '\"") or type(error).__name__
