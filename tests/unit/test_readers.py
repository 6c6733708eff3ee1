"""Files of every kind of badness: the bad record is handed on with a reason and its line, the rest goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.errors import InputError
from models.rules.mapping import Mapping
from tasks import readers
from tasks.readers import Raw
from tasks.sources import Reader, opened

LEADS = Mapping.model_validate({"source": "t", "lead": {"email": {"columns": ["email", "E-Mail"]}, "rest": True}})


def read(folder: Path, content: bytes | str, name: str = "f.csv", mapping: Mapping | None = LEADS) -> list[Raw]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    looked = readers.survey(path, mapping.encoding if mapping else None)
    with opened(looked, Reader("leads", "t", mapping)) as records:
        return list(records.raw)


def good(raw: list[Raw]) -> list[dict[str, object]]:
    return [one.data for one in raw if one.data is not None]


def bad(raw: list[Raw]) -> list[tuple[int, str]]:
    return [(one.line, one.reason or "") for one in raw if one.data is None]


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.feature("I1")
def test_delimiters_line_ends_and_encodings_are_told(tmp_path: Path, delimiter: str, end: str, encoding: str) -> None:
    rows = [
        ["email", "name"],
        ["a@x.example", "Zoë"],
        ["b@x.example", f'"x{delimiter}y"'],
        ["c@x.example", '"two\nlines"'],
    ]
    content = "".join(delimiter.join(row) + end for row in rows)
    raw = read(tmp_path, content.encode(encoding))
    assert [one["name"] for one in good(raw)] == ["Zoë", f"x{delimiter}y", "two\nlines"] and not bad(raw)
    assert [one.line for one in raw] == [2, 3, 4]


def test_a_mapping_names_the_encoding_of_what_is_not_utf_8(tmp_path: Path) -> None:
    mapping = LEADS.model_copy(update={"encoding": "cp1250"})
    assert good(read(tmp_path, "email,name\na@x.example,Łódź\n".encode("cp1250"), mapping=mapping))[0]["name"] == "Łódź"


def test_ragged_rows_are_refused_and_blank_ones_are_none(tmp_path: Path) -> None:
    raw = read(tmp_path, "email,name\na@x.example\nb@x.example,B,more\nc@x.example,C,,\n\n,\nd@x.example,D\n")
    assert [one["email"] for one in good(raw)] == ["c@x.example", "d@x.example"]
    assert bad(raw) == [(2, "1 cells; the header has 2"), (3, "3 cells; the header has 2")]


def test_a_quote_that_is_never_closed_costs_one_record(tmp_path: Path) -> None:
    rest = "".join(f"p{n}@x.example,P\n" for n in range(2_000))
    raw = read(tmp_path, 'email,name\na@x.example,"open\n' + rest)
    assert len(good(raw)) == 2_000 and [line for line, _ in bad(raw)] == [2]
    near_the_end = read(tmp_path, 'email,name\na@x.example,"open\nb@x.example,B\n')
    assert [one["email"] for one in good(near_the_end)] == ["b@x.example"]


def test_nuls_wrong_bytes_and_huge_cells_are_refused_alone(tmp_path: Path) -> None:
    content = (
        "email,name\nä@x.example,Ä\nb@x.example,Ö\n".encode()
        + b"c@x.example,N\x00L\nd@x.example,\xff\xfe\n"
        + b"e@x.example," + b"x" * 10_000_000 + b"\nf@x.example,F\n"
    )  # fmt: skip
    raw = read(tmp_path, content)
    assert [one["email"] for one in good(raw)] == ["ä@x.example", "b@x.example", "f@x.example"]
    assert [(line, reason[:12]) for line, reason in bad(raw)] == [
        (4, "a NUL charac"),
        (5, "not utf-8: b"),
        (6, "a record of "),
    ]
    assert len(raw[-2].text) > 10_000_000


def test_a_header_may_name_a_column_twice_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("E-mail,name,name,\na@x.example,1,2,3\n")
    with opened(readers.survey(path), Reader("leads", "t", LEADS)) as records:
        assert records.warnings == ["column 'name' stands twice; the second is read as 'name_2'"]
        assert good(list(records.raw)) == [{"E-Mail": "a@x.example", "name": "1", "name_2": "2", "column_4": "3"}]


def test_excel_says_its_delimiter_on_a_line_of_its_own(tmp_path: Path) -> None:
    assert good(read(tmp_path, "sep=;\r\nemail;a,b\r\nx@x.example;1\r\n")) == [{"email": "x@x.example", "a,b": "1"}]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("f.csv", b"PK\x03\x04....", "Excel"),
        ("f.csv", b"\x1f\x8b....", "gzip"),
        ("f.csv", b"4711,johndoe@x.example,John\n", "none of the columns"),
        ("f.csv", b'"email\n', "header cannot be read"),
        ("f.json", b"{nonsense", "not a JSON document"),
        ("f.json", b"[" * 5_000, "not a JSON document"),
        ("missing/f.csv", None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_an_input_error(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with (
        pytest.raises(InputError, match=words),
        opened(readers.survey(tmp_path / name), Reader("leads", "t", LEADS)) as records,
    ):
        list(records.raw)


def test_json_lines_that_are_not_objects_are_refused(tmp_path: Path) -> None:
    content = (
        b'{"email":"a@x.example"}\n[1]\n"x"\nnull\n{"a":\n\n{"n":"\\u0000"}\n'
        + b"[" * 3000
        + b'\n{"email":1e400}\n\xff\n{}\n'
    )
    raw = read(tmp_path, content, "f.jsonl", None)
    assert good(raw) == [{"email": "a@x.example"}, {}]
    assert [line for line, _ in bad(raw)] == [2, 3, 4, 5, 7, 8, 9, 10]


def nested(depth: int, innermost: str = "1") -> str:
    return '{"email":"a@x.example","x":' + "[" * (depth - 1) + innermost + "]" * (depth - 1) + "}"


@pytest.mark.parametrize("depth", [65, 254, 300, 1_000])
@pytest.mark.parametrize("innermost", ["1", "{}", '"\\u0000"'])
def test_a_record_that_is_nested_too_deep_is_refused_alone(tmp_path: Path, depth: int, innermost: str) -> None:
    content = nested(depth, innermost) + "\n" + nested(64) + "\n"
    raw = read(tmp_path, content, "f.jsonl", None)
    assert len(good(raw)) == 1 and bad(raw) == [(1, "nested deeper than 64")]
    document = read(tmp_path, f"[{nested(depth, innermost)},{nested(63)}]", "f.json", None)
    assert len(good(document)) == 1 and bad(document) == [(1, "nested deeper than 64")]


def test_many_objects_beside_each_other_are_not_deep(tmp_path: Path) -> None:
    wide = '{"x":[' + ",".join(["{}"] * 500) + "]}"
    assert len(good(read(tmp_path, wide + "\n" + wide + "\n", "f.jsonl", None))) == 2


def test_records_of_a_json_document_are_found_by_path(tmp_path: Path) -> None:
    mapping = LEADS.model_copy(update={"records": "requests[].json.batch[]"})
    content = b'{"requests":[{"json":{"batch":[{"a":1},5]}},{"json":null},{},{"json":{"batch":[{"a":2}]}}]}'
    raw = read(tmp_path, content, "f.json", mapping)
    assert good(raw) == [{"a": 1}, {"a": 2}] and [line for line, _ in bad(raw)] == [2]
    assert good(read(tmp_path, b'[{"a":1},{"a":2}]', "f.json", None)) == [{"a": 1}, {"a": 2}]
    assert good(read(tmp_path, b'{"a":1}\n{"a":2}\n', "f.json", None)) == [{"a": 1}, {"a": 2}]


@given(st.binary(max_size=300) | st.text(alphabet='ab,;"\n\r\x00é@', max_size=200).map(str.encode))
@settings(max_examples=150)
def test_whatever_the_bytes_every_line_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    assume(not content.startswith((b"PK", b"\x1f\x8b", b"SQLite", b"PAR1", b"%PDF")))
    folder = tmp_path_factory.mktemp("f")
    csv = read(folder, b"email,name\n" + content)
    lines = read(folder, content, "f.jsonl", None)
    assert all(one.reason for one in [*csv, *lines] if one.data is None)
    assert len(lines) <= content.count(b"\n") + 1


@pytest.mark.feature("I1")
def test_notes_above_the_header_are_left_out_and_told(tmp_path: Path) -> None:
    notes = 'Notes:\n"When exporting your data, you may notice that some, e.g. addresses, are missing."\n\n'
    path = tmp_path / "Connections.csv"
    path.write_text(f"{notes}First Name,E-Mail\nAna,a@x.example\n", encoding="utf-8")
    with opened(readers.survey(path), Reader("leads", "t", LEADS)) as records:
        found = list(records.raw)
        assert records.warnings == ["3 lines above the header left out"]
    assert [(one.line, one.data) for one in found] == [(5, {"First Name": "Ana", "E-Mail": "a@x.example"})]
    several = '"Long\nname",E-Mail\nAna,a@x.example\n'
    assert good(read(tmp_path, several))[0]["Long\nname"] == "Ana"
