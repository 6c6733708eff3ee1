"""The forms in which events come in over HTTP, by the name that a received batch bears.

Decides nothing: how a form is read stands in a module of its own (models.rules.received says what such a module has).
"""

from __future__ import annotations

from models.rules import cloudevents, posthog, segment, tracking
from models.rules.hooks import reading as hooks
from models.rules.received import Form

FORMS: dict[str, Form] = {
    "cloudevents": cloudevents.FORM,
    "hook": hooks.FORM,
    "posthog": posthog.FORM,
    "segment": segment.FORM,
    tracking.NAME: tracking.FORM,
}
"""models.tables.ReceivedBatch.form → how it is read."""
