"""docs/mappings.md names every field of the mapping language and every ready mapping."""

import re
from pathlib import Path

from models.documents import Document
from models.rules import mapping
from models.rules.mapping import load_mapping

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "mappings.md").read_text(encoding="utf-8")


def test_every_field_is_documented() -> None:
    said = set(re.findall(r"`(\w+)`", DOCS))
    parts = (mapping.Value, mapping.LeadSection, mapping.AccountSection, mapping.ActivitySection, mapping.DealSection)
    fields = {name for part in parts for name in part.model_fields}
    fields |= set(mapping.Mapping.model_fields) | {"month", "first_year"}
    assert fields - said == set()


def test_every_ready_mapping_is_listed() -> None:
    ready = {
        path.stem for path in (ROOT / "playbooks" / "mappings").glob("*.yaml") if not path.stem.startswith("generic")
    }
    assert {name for name in ready if f"`{name}`" not in DOCS} == set()


def test_the_example_is_valid() -> None:
    example = DOCS.partition("```yaml\n")[2].partition("```")[0]
    assert load_mapping(Document.parse(example, "example.yaml")).source == "acme-shop"
