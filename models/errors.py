"""The exceptions of Warmline: broken promises only; expected outcomes are values.

Each class's docstring is its default message and says what to do; `exit_code` is what the command line answers with
(documented in docs/commands.md). Lowest floor of the house: imports nothing of ours.
"""


class WarmlineError(Exception):
    """Something went wrong inside Warmline; run `warmline doctor`, then report it with the lines above."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class UsageError(WarmlineError):
    """The command's words are off: see `warmline COMMAND --help`."""

    exit_code = 2


class InputError(WarmlineError):
    """The input cannot be read at all: mend the file named above and run the same command again."""

    exit_code = 4


class StorageError(WarmlineError):
    """The database cannot be read or written: check `database:` in warmline.yaml, free space and permissions."""

    exit_code = 5


class DeliveryError(WarmlineError):
    """The SMTP server cannot be reached: check `smtp:` in warmline.yaml; what was queued stays queued."""

    exit_code = 6


class OrchestrationError(WarmlineError):
    """The Prefect server cannot be reached or started: check PREFECT_API_URL and the log named above."""

    exit_code = 7
