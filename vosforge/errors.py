"""The errors a user can mend. Everything else that is raised is a bug and keeps its traceback."""


class VOSForgeError(Exception):
    """Base of all errors a user can mend: one sentence that names the thing and the remedy."""

    exit_code = 1


class InputError(VOSForgeError):
    """What the user handed over cannot be used: a wrong key, a bad value, a missing or unreadable path."""

    exit_code = 2


class MachineError(VOSForgeError):
    """The machine failed (disk, memory, locks, network) and nothing is known to be wrong with the data."""

    def __init__(self, sentence: str, why: str = "") -> None:
        """``why``: what failed, in a few words."""
        super().__init__(sentence)
        self.why = why or sentence


class QuarantinedError(VOSForgeError):
    """Everything is done that can be done, but for videos that are quarantined."""

    exit_code = 3


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [""])[0].strip(" '\"") or type(error).__name__
