"""What the model is asked, and what its words mean."""

from __future__ import annotations

import pytest
from workers.reasoning.paper import page, paragraph

from triptych.v1.vision_pb2 import ChatRole, GenerationConfig
from triptych.workers.reasoning.prompts import says_not_found, tidy, vision_spec
from triptych.workers.reasoning.readings import read_page
from triptych.workers.reasoning.retrieval import passages


def test_the_job_is_text_only_and_keeps_the_callers_options() -> None:
    readings = [read_page("d1", paragraph("Total 5"))]
    spec = vision_spec(
        "Be brief.", readings, passages(readings), " How much? ", GenerationConfig(model="other", temperature=0.5)
    )
    assert [message.role for message in spec.messages] == [ChatRole.CHAT_ROLE_SYSTEM, ChatRole.CHAT_ROLE_USER]
    assert all(part.WhichOneof("part") == "text" for message in spec.messages for part in message.parts)
    assert spec.messages[1].parts[0].text == "Document:\nTotal 5\n\nQuestion: How much?"
    assert (spec.config.model, spec.config.temperature, spec.config.max_output_tokens) == ("other", 0.5, 128)


def test_fields_that_the_question_names_are_said_again() -> None:
    readings = [read_page("d1", page((0.1, 0.1, "Total due"), (0.4, 0.1, "$610.00"), (0.1, 0.2, "Thank you")))]
    fields = [("Total due", "$610.00")]
    spec = vision_spec("Be brief.", readings, passages(readings), "What is the total due?", GenerationConfig(), fields)
    assert spec.messages[1].parts[0].text == (
        "Document:\nTotal due | $610.00\nThank you\n\nFields:\nTotal due: $610.00\n\nQuestion: What is the total due?"
    )


@pytest.mark.parametrize("text", ["not found", "Not found.", '"not found"', "The document does not say.", "", "n/a",
                                  "The answer is not found in the document."])  # fmt: skip
def test_not_found_is_understood(text: str) -> None:
    assert says_not_found(text)


NONE_OF = "None of the above items were returned to the shop by 5 May 2020, as the list shows"


@pytest.mark.parametrize("text", ["Nothing", "404 Not Found", NONE_OF, "INV-100"])
def test_an_answer_is_not_taken_for_not_found(text: str) -> None:
    assert not says_not_found(text)


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ('"INV-100"', "INV-100"),
        ("INV-100.", "INV-100"),
        ("**INV-100**", "INV-100"),
        ("Invoice number: INV-100", "INV-100"),
        ("Answer: INV-100", "INV-100"),
        ("Order number: INV-100", "Order number: INV-100"),
        ("Contoso B.V.", "Contoso B.V."),
        ("It ends on the first of May.", "It ends on the first of May."),
        ('"one" and "two"', '"one" and "two"'),
    ],
)
def test_what_small_models_put_around_a_value_is_taken_off(text: str, tidied: str) -> None:
    assert tidy(text, "What is the invoice number?") == tidied
