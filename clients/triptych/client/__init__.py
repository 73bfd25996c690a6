"""The Python SDK: a client for every call of the contract, blocking (`Client`) or not (`AsyncClient`).

    from triptych.client import Client

    with Client() as client:
        print(client.transcribe("memo.mp3").text)

This file exists so that users need to know one import only.
"""

from triptych.client.aio import AsyncClient
from triptych.client.inputs import Source
from triptych.client.sync import Client

__all__ = ["AsyncClient", "Client", "Source"]
