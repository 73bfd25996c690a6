"""Asks one question over a PDF and a recording and writes a report: `python examples/report.py PDF RECORDING QUESTION`.

Open `answer-report/index.html` in a browser: the evidence is boxed on its page, and the recording plays where it is
cited. Pictures need `pip install 'triptych[worker,speech]'`.
"""

import sys
from pathlib import Path

from triptych.cli.report.folder import write_report
from triptych.client import Client
from triptych.core.settings import Settings

*files, question = sys.argv[1:]
settings = Settings()
with Client(settings.target, api_key=settings.api_key) as client:
    result = client.answer(question, files)
print(result.answer.text)
# The documents of a question are "d1", "d2", ... in the order in which they were asked.
named = {f"d{number}": Path(file) for number, file in enumerate(files, 1)}
print(write_report(Path("answer-report"), question, result, named).index)
