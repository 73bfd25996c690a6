"""Asks one question about one document and prints where the answer stands: `python examples/ask.py FILE QUESTION`."""

import sys

from triptych.client import Client
from triptych.core.settings import Settings

file, question = sys.argv[1:]
settings = Settings()
with Client(settings.target, api_key=settings.api_key) as client:
    result = client.answer(question, [file])
    print(result.answer.text)
    for evidence in result.evidence:
        place = evidence.page if evidence.HasField("page") else evidence.audio
        print(evidence.evidence_id, evidence.quote, place, sep="\n")
