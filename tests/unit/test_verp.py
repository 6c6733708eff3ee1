"""The envelope sender names its message, survives case-folding, and cannot be made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.mail import MessageIds
from models.rules.verp import MAX_LOCAL, read_verp, verp_address

SECRET = b"s" * 32
MAILBOX = "b@bounces.example"
IDS = MessageIds(SECRET, "acme.example")


@pytest.mark.feature("N7")
@given(st.text(max_size=80).filter(lambda text: text.isprintable()))
def test_the_envelope_sender_leads_back_to_its_message_however_its_case_was_changed(key: str) -> None:
    message_id = IDS.of(key)
    address = verp_address(MAILBOX, message_id, SECRET)

    assert len(address.rpartition("@")[0].encode()) <= MAX_LOCAL
    for written in (address, address.upper(), f"<{address}>"):
        assert read_verp(MAILBOX, written, SECRET) == message_id.strip("<>").partition("@")[0]


@pytest.mark.feature("N7")
def test_an_address_that_we_did_not_make_names_nothing() -> None:
    address = verp_address(MAILBOX, IDS.of("nurture:1"), SECRET)
    name, _, rest = address.partition(".")
    other = verp_address(MAILBOX, IDS.of("nurture:2"), SECRET)

    made_up = [
        verp_address(MAILBOX, IDS.of("nurture:1"), b"another secret"),
        f"{name}.{other.partition('.')[2]}",  # the signature of another message
        f"{name}.{'a' * 16}@bounces.example",
        address.replace("bounces.example", "evil.example"),
        address.replace("b+", "c+"),
        "b+@bounces.example",
        "b@bounces.example",
        "",
        "<>",
        rest,
        address.replace("b+", "b+\u0131"),
    ]
    assert [read_verp(MAILBOX, one, SECRET) for one in made_up] == [None] * len(made_up)


def test_the_longest_mailbox_still_fits_and_a_longer_one_is_refused() -> None:
    fits, too_long = f"{'m' * 14}@bounces.example", f"{'m' * 15}@bounces.example"

    assert len(verp_address(fits, IDS.of("a"), SECRET).partition("@")[0]) == MAX_LOCAL
    with pytest.raises(ValueError, match="14 octets"):
        verp_address(too_long, IDS.of("a"), SECRET)
    with pytest.raises(ValueError, match="Message-ID"):
        verp_address(MAILBOX, "<stranger@example.com>", SECRET)
