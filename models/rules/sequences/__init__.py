"""Nurture sequences: what a file may say, whom it takes, when it lets go, and what each step does.

Pure: decides from facts that it is given, sends nothing and knows no clock. tasks.nurture does what it says.
"""

from models.rules.acts import Act, Did
from models.rules.sequences.asking import Enrol, Exit, When
from models.rules.sequences.course import Node, Way
from models.rules.sequences.enrolment import (
    NO_ADDRESS,
    QUALIFIED_BEFORE,
    Enrolled,
    Entrances,
    Entry,
    beside,
    by_priority,
    choose,
    next_entry,
)
from models.rules.sequences.model import ALWAYS_EXIT, NOT_NURTURED, OPT_IN, OPT_OUT, Again, Sequence
from models.rules.sequences.moments import APPOINTMENT, Until
from models.rules.sequences.steps import KINDS, Arm, Kind, Step
from models.rules.sequences.walking import Adjust, Advance, Deed, Enter, Send, Situation, Tell

__all__ = [
    "ALWAYS_EXIT",
    "APPOINTMENT",
    "KINDS",
    "NOT_NURTURED",
    "NO_ADDRESS",
    "OPT_IN",
    "OPT_OUT",
    "QUALIFIED_BEFORE",
    "Act",
    "Adjust",
    "Advance",
    "Again",
    "Arm",
    "Deed",
    "Did",
    "Enrol",
    "Enrolled",
    "Enter",
    "Entrances",
    "Entry",
    "Exit",
    "Kind",
    "Node",
    "Send",
    "Sequence",
    "Situation",
    "Step",
    "Tell",
    "Until",
    "Way",
    "When",
    "beside",
    "by_priority",
    "choose",
    "next_entry",
]
