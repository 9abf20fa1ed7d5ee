"""The errors a user can cause, so that entry points can tell them from defects of the program."""


class UserError(Exception):
    """Something outside the program is wrong; the message says what arrived, what was expected
    and what to do. Entry points print it without a traceback."""


class ConfigError(UserError, ValueError):
    """A key, type or value of the configuration is wrong."""


class DataError(UserError, ValueError):
    """An array, table or file does not keep its contract."""


class MissingInputError(UserError, FileNotFoundError):
    """A file that an earlier stage should have made is not there."""


class MismatchError(UserError, ValueError):
    """Two artefacts do not belong together (other channels, normaliser, data or task)."""
