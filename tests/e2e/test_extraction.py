"""An invoice made on the spot, its values extracted by real models: what was drawn, and where it was drawn."""

import json

import pytest
from PIL import Image, ImageDraw, ImageFont

from triptych.core.errors import FieldInvalid
from triptych.v1.reasoning_pb2 import AnswerStatus

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]

SIZE = (1200, 900)
# x and y of the top left, and the words.
INK = [
    (80, 60, "Contoso Tools Ltd"),
    (80, 150, "Invoice number:"),
    (460, 150, "CT-20417"),
    (80, 200, "Invoice date:"),
    (460, 200, "24/03/2023"),
    (80, 250, "Total due:"),
    (460, 250, "EUR 1,296.50"),
    (80, 380, "Description"),
    (620, 380, "Quantity"),
    (900, 380, "Amount"),
    (80, 440, "Torque wrench"),
    (620, 440, "2"),
    (900, 440, "90.00"),
    (80, 500, "Bench grinder"),
    (620, 500, "5"),
    (900, 500, "1,206.50"),
]
SCHEMA = {
    "type": "object",
    "properties": {
        "invoiceNumber": {"type": "string"},
        "invoice_date": {"type": "string", "format": "date"},
        "total_due": {"type": "number"},
        "currency": {"type": "string"},
        "sea_captain": {"type": ["string", "null"], "description": "Name of the ship's captain"},
        "line_items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "description": {"type": "string"},
                    "quantity": {"type": "integer"},
                    "amount": {"type": "number"},
                },
                "required": ["description", "amount"],
            },
        },
    },
    "required": ["invoiceNumber", "line_items"],
}
# What is extracted, and the words it was drawn with.
DRAWN = {
    "/invoiceNumber": ("CT-20417", "CT-20417"),
    "/invoice_date": ("2023-03-24", "24/03/2023"),
    "/total_due": (1296.5, "EUR 1,296.50"),
    "/currency": ("EUR", "EUR 1,296.50"),
    "/line_items/0/description": ("Torque wrench", "Torque wrench"),
    "/line_items/0/quantity": (2, "2"),
    "/line_items/0/amount": (90, "90.00"),
    "/line_items/1/description": ("Bench grinder", "Bench grinder"),
    "/line_items/1/quantity": (5, "5"),
    "/line_items/1/amount": (1206.5, "1,206.50"),
}


@pytest.fixture(scope="module")
def invoice(tmp_path_factory):
    """The file, and by words the box of the ink, in pixels."""
    image = Image.new("L", SIZE, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(32)
    boxes = {}
    for x, y, words in INK:
        draw.text((x, y), words, fill="black", font=font)
        boxes[words] = draw.textbbox((x, y), words, font=font)
    path = tmp_path_factory.mktemp("invoice") / "invoice.png"
    image.save(path)
    return path, boxes


def test_values_are_what_was_drawn_and_their_evidence_lies_on_the_ink(client, invoice):
    path, boxes = invoice
    result = client.answer("", [path], output_json_schema=json.dumps(SCHEMA))
    found = json.loads(result.answer.output_json)
    values = {value.json_pointer: value for value in result.values}
    evidence = {one.evidence_id: one for one in result.evidence}
    for pointer, (expected, words) in DRAWN.items():
        at = found
        for part in pointer.split("/")[1:]:
            at = at[int(part)] if isinstance(at, list) else at[part]
        assert at == expected, pointer
        assert values[pointer].status == AnswerStatus.ANSWER_STATUS_ANSWERED
        assert 0 < values[pointer].confidence <= 1
        places = [evidence[one] for one in values[pointer].evidence_ids]
        assert places, pointer
        left, top, right, bottom = boxes[words]
        for place in places:
            xs = [x * SIZE[0] for x in place.page.polygon[0::2]]
            ys = [y * SIZE[1] for y in place.page.polygon[1::2]]
            # The middle of the quote is on the words, and no side is further out than half a line.
            assert left <= sum(xs) / 4 <= right, pointer
            assert top <= sum(ys) / 4 <= bottom, pointer
            assert left - 16 <= min(xs), pointer
            assert max(xs) <= right + 16, pointer
            assert top - 16 <= min(ys), pointer
            assert max(ys) <= bottom + 16, pointer
    assert len(found["line_items"]) == 2
    assert "invoice number: CT-20417 [e1]" in result.answer.text
    captain = values["/sea_captain"]
    # Whatever a small model says of what is not there, it cannot be surer than of what is.
    assert (
        captain.status == AnswerStatus.ANSWER_STATUS_NOT_FOUND or captain.confidence < values["/total_due"].confidence
    )
    assert {stage.stage for stage in result.stages} >= {"ocr", "extract"}


def test_a_schema_without_values_is_refused_at_once(client, invoice):
    schema = {"type": "object", "properties": {"seller": {"type": "object"}}}
    with pytest.raises(FieldInvalid, match="/properties/seller: is an object without properties"):
        client.answer("", [invoice[0]], output_json_schema=json.dumps(schema))
