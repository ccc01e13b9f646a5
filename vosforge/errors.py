"""The errors a user can mend. Everything else that is raised is a bug and keeps its traceback."""


class VOSForgeError(Exception):
    """Base of all errors a user can mend: one sentence that names the thing and the remedy."""

    exit_code = 1


class InputError(VOSForgeError):
    """What the user handed over cannot be used: a wrong key, a bad value, a missing or unreadable path."""

    exit_code = 2


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [""])[0].strip(" '\"") or type(error).__name__
