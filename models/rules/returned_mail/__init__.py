"""What a mail that came back says: `read(raw)` → ReturnedMail. Pure; takes any bytes without an exception.

opening takes the bytes apart, reading decides the kind, severity and wordings what a refusal means, narratives what is
told in prose, answers what is no bounce. What it leads to is tasks.returned_mail's.
"""

from models.rules.returned_mail.reading import Fate, Kind, ReturnedMail, read
from models.rules.returned_mail.severity import Severity

__all__ = ["Fate", "Kind", "ReturnedMail", "Severity", "read"]
