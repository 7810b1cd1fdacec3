"""One kind of error for what a user can mend: it is shown as one sentence, without a traceback."""


class UserError(ValueError):
    """A wrong argument, file or setting. The message names it, its value, what is accepted, and what to do."""

    def __init__(self, message: str = ""):
        # torch raises what a data worker raised once more, with the worker's traceback as the message.
        inside = f"{__name__}.{type(self).__name__}: "
        super().__init__(message.rpartition(inside)[2].strip() if message.startswith("Caught ") else message)


class Stopped(UserError):
    """Ended a run that goes on with resume=true when this is mended."""


def require(condition: bool, message: str) -> None:
    """Raise UserError(message) unless condition holds."""
    if not condition:
        raise UserError(message)
