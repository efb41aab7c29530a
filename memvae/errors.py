"""Exceptions for errors that the user can correct."""


class InputError(Exception):
    """One line: the file or key, what was found, what was expected, what to do. The command line exits with 2.

    Several failures that are found together are several lines.
    """


class Unreadable(InputError):
    """A file cannot be read just now: no permission, a stale handle, too little memory, a filter that is missing.

    It may be whole, so nothing is set aside or deleted for it.
    """
