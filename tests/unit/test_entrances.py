"""What leads enter that were in no sequence yet: remembered, it is what asking each sequence says."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules.conditions import Facts
from models.rules.sequences import Entrances, Sequence, beside, by_priority, choose

NOW = 1_700_000_000_000_000
_STAGES = ("subscriber", "lead", "marketing_qualified", "customer")
_VALUES = st.sampled_from([None, True, False, 1, 1.0, 0, "1", "true", "yes", "Yes", "", ["yes", "no"]])
_LEADS = st.lists(
    st.tuples(
        st.sampled_from(_STAGES),
        st.sampled_from([None, 0.0, 24.9, 25.0]),
        st.booleans(),
        st.fixed_dictionaries({}, optional={"agreed": _VALUES, "country": _VALUES}),
    ),
    min_size=1,
    max_size=12,
)


def _made(name: str, **said: Any) -> Sequence:
    return Sequence.model_validate({"name": name, "steps": [{"wait": "2d"}, {"send": "hello"}], **said})


_BY_ATTRIBUTES = [
    _made("welcome", consent={"agreed": True}, enrol={"stages": ["lead"]}),
    _made("local", priority=5, enrol={"stages": ["lead", "customer"], "if": {"country": "yes"}}),
    _made("letter", alongside=True, enrol={"stages": ["lead", "subscriber"], "if": {"country": {"is": "missing"}}}),
    _made("by-hand", priority=9, enrol={"stages": ["lead"], "by_step": True}),
]
_BY_SCORE = [*_BY_ATTRIBUTES, _made("warm", priority=7, enrol={"stages": ["lead"], "total": 25})]


@given(st.sampled_from([_BY_ATTRIBUTES, _BY_SCORE]), _LEADS)
@settings(deadline=None, max_examples=80)
def test_what_is_remembered_of_the_leads_before_is_what_each_lead_would_enter(
    sequences: list[Sequence], leads: list[tuple[str, float | None, bool, dict[str, Any]]]
) -> None:
    ordered = by_priority(sequences)
    entrances = Entrances(ordered)
    for stage, total, appointment, attributes in leads:
        facts = Facts(stage, total=total, attributes=attributes, appointment=appointment)
        chosen = choose(ordered, facts, (), NOW)
        assert entrances.entered(facts, NOW) == [*([chosen] if chosen else []), *beside(ordered, facts, (), NOW)]


def test_facts_within_another_stage_are_the_same_but_for_it() -> None:
    facts = Facts("lead", 25.0, attributes={"country": "NL"}, now=NOW, said="raised")

    assert facts.within("customer", appointment=True) == facts._replace(stage="customer", appointment=True)
