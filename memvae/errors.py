"""The one exception for what a user can put right."""


class InputError(Exception):
    """One line: the file or key, what was found, what was expected, what to do. The command line exits with 2.

    Several failures that are found together are several lines.
    """
