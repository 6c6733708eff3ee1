"""`warmline recalibrate fit`: a newcomer with a table of past leads gets a scoring model, and is told what to doubt."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import orjson
import pytest

from models.rules.learning import measures
from tests.commands import warmline
from tests.conftest import SHARED
from tests.learning_world import table, written

BANK = SHARED / "bank_marketing" / "bank-full.csv"


@pytest.mark.feature("R3")
def test_a_table_becomes_a_model_that_scores_other_tables(tmp_path: Path) -> None:
    past, coming = table(900), table(400, seed=1)
    truth = np.array(coming.pop("Converted")) == "Yes"
    file, other, model = (
        written(tmp_path / "past.csv", past),
        written(tmp_path / "new.csv", coming),
        tmp_path / "m.yaml",
    )
    words = ("recalibrate", "fit", "--csv", file, "--outcome", "converted", "--id", "Lead number", "--predict", other)
    found = orjson.loads(warmline(*words, "--leave-out", "Created", "--out", model, "--json").stdout)
    assert [one["column"] for one in found["suspected"]] == ["Tags", "Closed on"]
    predicted = found["predictions"]
    assert [one["id"] for one in predicted] == coming["Lead number"]
    stated = np.array([one["probability"] for one in predicted])
    assert measures.area(stated, truth).value > 0.7
    assert measures.calibration_error(stated, truth) < 0.1
    lead = {"lead": {"lead_source": coming["Lead source"][0], "job": coming["Job"][0],
                     "minutes_on_site": coming["Minutes on site"][0], "colour": coming["colour"][0]}}  # fmt: skip
    line = warmline("score", "--model", model, "--test", "-", "--json", stdin=orjson.dumps(lead).decode()).stdout
    assert orjson.loads(line)["total"] == predicted[0]["points"]
    told = warmline(*words[:8]).stdout
    assert "Left out, since it was probably written after the outcome" in told
    refused = warmline(*words[:8], "--out", model, code=2).stderr
    assert "is there already" in refused


def test_what_cannot_be_learned_from_is_told_without_a_stack(tmp_path: Path) -> None:
    past = table(200)
    file = written(tmp_path / "past.csv", past)
    for words, code, told in (
        (("--outcome", "Convrted"), 2, "did you mean 'Converted'"),
        (("--outcome", "colour"), 4, "'red' ("),
        (("--outcome", "Converted", "--time", "Job"), 4, "--time Job: row"),
        (("--outcome", "Converted", "--won", "maybe"), 4, "none of 200 rows is 'maybe'"),
    ):
        refused = warmline("recalibrate", "fit", "--csv", file, *words, code=code)
        assert told in " ".join(refused.stderr.split()) and "Traceback" not in refused.stderr
    (tmp_path / "empty.csv").write_text("a;b\n")
    refused = warmline("recalibrate", "fit", "--csv", tmp_path / "empty.csv", "--outcome", "a", code=4)
    assert "no row below the header" in refused.stderr


@pytest.mark.feature("R3")
def test_the_bank_contacts_are_learned_and_their_drift_is_told(tmp_path: Path) -> None:
    if not BANK.exists():
        pytest.skip(f"{BANK} is missing: what a real table of 45,211 contacts teaches is not known")
    with BANK.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))[::12]  # a twelfth, in order of time
    part = written(tmp_path / "bank.csv", {name: [row[name] for row in rows] for name in rows[0]})
    found = orjson.loads(warmline("recalibrate", "fit", "--csv", part, "--outcome", "y", "--json").stdout)
    assert [one["column"] for one in found["suspected"]] == ["duration"]
    assert found["drift"]["alarm"] and found["drift"]["observed"] > 2 * found["drift"]["expected"]
    assert found["measured"]["auc"] > 0.72 and found["measured"]["calibration_error"] < 0.04
