"""The files of results are what the journal says, whatever became of them."""

import csv
import json

import pytest
from intake.conftest import Desk

from triptych.core.errors import FieldInvalid, PreconditionFailed
from triptych.intake.essence import cells, essence
from triptych.intake.table import Table


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


async def test_half_a_line_is_cut_off_and_a_lost_file_is_written_anew(desk: Desk):
    desk.drop("a", b"one")
    desk.drop("b", b"two")
    await desk.run(in_flight=1)
    path = desk.out / "results.jsonl"
    whole = path.read_text()
    for left in (whole[:-20], whole.splitlines()[0] + '\n{"line', whole[:3], ""):
        path.write_text(left)
        await desk.run()
        assert path.read_text() == whole
    path.unlink()
    (desk.out / "results.csv").unlink()
    await desk.run()
    assert path.read_text() == whole
    assert [row["name"] for row in read(desk.out / "results.csv")] == ["a", "b"]
    found = json.loads((desk.out / json.loads(whole.splitlines()[0])["result"]).read_text())
    assert (found["name"], found["result"]["transcription"]["text"]) == ("a", "hello")


async def test_a_file_that_is_something_else_is_left_alone(desk: Desk):
    path = desk.out / "results.jsonl"
    path.write_text("my notes\n")
    with pytest.raises(FieldInvalid):
        await desk.run()
    assert path.read_text() == "my notes\n"
    path.write_text('{"line": 7, "name": "of another journal"}\n')
    with pytest.raises(PreconditionFailed):
        await desk.run()


def test_a_structured_answer_has_its_values_in_columns_with_how_sure_they_are():
    result = {
        "reasoning": {
            "answer": {
                "status": "ANSWER_STATUS_PARTIAL",
                "text": "as asked",
                "output_json": json.dumps(
                    {"total": 12.5, "lines": [{"item/no": "A"}, {"item/no": None}], "paid": True}
                ),
                "confidence": 0.5,
            },
            "values": [
                {"json_pointer": "/total", "status": "ANSWER_STATUS_ANSWERED", "confidence": 0.75, "raw": "12,50 EUR"}
            ],
            "evidence": [{"evidence_id": "e1"}],
        }
    }
    found = essence(result)
    assert (found["status"], found["output"]["total"], found["values"][0]["raw"]) == ("partial", 12.5, "12,50 EUR")
    line = dict.fromkeys(("line", "name", "state", "duplicate_of", "job", "file", "result"))
    row = cells(line | {"answer": found})
    assert {name: row[name] for name in row if name.startswith("/")} == {
        "/total": 12.5, "/lines/0/item~1no": "A", "/lines/1/item~1no": None, "/paid": True,
        "/total status": "answered", "/total confidence": 0.75,
    }  # fmt: skip
    assert row["confidence"] == 0.5


def test_columns_grow_and_no_text_is_a_formula(tmp_path):
    rows = [{"name": "a", "/x": 1}]
    table = Table(tmp_path / "t.csv", rows)
    for row in ({"name": "b", "/x": -2}, {"name": "=HYPERLINK(1)", "/y": "-3.5"}, {"name": "c\nd", "/x": True}):
        rows.append(row)
        table.add(row, rows)
    assert read(tmp_path / "t.csv") == [
        {"name": "a", "/x": "1", "/y": ""},
        {"name": "b", "/x": "-2", "/y": ""},
        {"name": "'=HYPERLINK(1)", "/x": "", "/y": "-3.5"},
        {"name": "c\nd", "/x": "true", "/y": ""},
    ]
