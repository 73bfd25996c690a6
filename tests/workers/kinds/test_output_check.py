"""What is told of an output that is not what was asked for."""

import json

import pytest

from triptych.core.errors import OutputInvalid
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, VisionResult
from triptych.workers.engines.output_rules import OutputRules
from triptych.workers.kinds.output_check import check_output

SCHEMA = json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False})


@pytest.mark.parametrize("engine", ["reader/1", "remote/127.0.0.1:80"])
@pytest.mark.parametrize(
    "rules", [OutputRules(json_schema=SCHEMA), OutputRules(choices=("yes",)), OutputRules(regex="a+")]
)
@pytest.mark.parametrize("finish", [FINISH_REASON_LENGTH, FINISH_REASON_STOP])
@pytest.mark.parametrize("text", ["PRIVATE", '{"PRIVATE": 1}', '{"a": "PRIVATE"}'])
def test_errors_have_nothing_of_the_text(engine, rules, finish, text):
    result = VisionResult(model=ModelRef(engine=engine), text=text, finish_reason=finish)
    with pytest.raises(OutputInvalid) as caught:
        check_output(rules, result)
    assert "PRIVATE" not in caught.value.message
