"""Reads a whole folder of scans without waiting for each: `python examples/intake.py FOLDER`.

Jobs go to the batch lane; stop this script at any time and run it again: the same file is the same request.
"""

import hashlib
import sys
import uuid
from pathlib import Path

from triptych.client import Client, specs
from triptych.core.errors import TriptychError
from triptych.core.settings import Settings
from triptych.v1.job_pb2 import JobOptions, JobPriority

settings = Settings()
options = JobOptions(priority=JobPriority.JOB_PRIORITY_BATCH, labels={"intake": "example"})
with Client(settings.target, api_key=settings.api_key) as client:
    jobs = {}
    for file in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_file()):
        request_id = str(uuid.UUID(hashlib.sha256(file.read_bytes()).hexdigest()[:32]))
        try:
            [source] = client.sources([file])
            jobs[file] = client.submit(specs.ocr(source), options, request_id=request_id).name
        except TriptychError as error:
            print(f"{file.name}: refused: {error}")
    for file, job in jobs.items():
        try:
            pages = client.result(client.wait_job(job)).ocr.pages
            print(f"{file.name}: {len(pages)} pages, {sum(len(page.text) for page in pages)} characters")
        except TriptychError as error:
            print(f"{file.name}: {error}")
