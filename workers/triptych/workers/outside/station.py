"""Asks one model outside, several prompts at a time, each by itself: one that is slow holds up no other."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Executor

import httpx2

from triptych.core.catalog_file import UNPINNED, ModelEntry
from triptych.core.errors import (
    EgressDenied,
    ExecutionTimeout,
    FieldInvalid,
    RemoteUnavailable,
    TriptychError,
)
from triptych.core.remote_server import RemoteServer
from triptych.core.spending import Leaving
from triptych.v1.common_pb2 import ModelRef, TokenUsage
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers import metrics
from triptych.workers.batcher import Done
from triptych.workers.kinds.document_check import check_document
from triptych.workers.outside.account import Account
from triptych.workers.outside.answer import Answer
from triptych.workers.outside.ask import Ask
from triptych.workers.outside.breaker import Breaker
from triptych.workers.outside.exchange import CallFailed, exchange
from triptych.workers.outside.message import Message, written
from triptych.workers.outside.redaction import ReadPages, redacted, schema_matched

log = logging.getLogger("triptych.outside")

# A server that wants to be left alone for longer is not waited for.
MAX_RETRY_AFTER_S = 30.0
# Statuses that speak of the request; others are of the key, the account (402), the address or the server.
_REFUSES_REQUEST = (400, 413, 415, 422)
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.25, 8.0


class RemoteStation:
    """A model outside. For one event loop.

    Args:
        entry: Of the catalogue.
        http: See `exchange.client`.
        breaker: Of the server, which may have several models.
        account: Budgets and ledger.
        workshop: Threads that redact, encode and validate.
        read_pages: Makes what recognizes words of pages, while a prompt is wanted.
    """

    def __init__(
        self,
        entry: ModelEntry,
        server: RemoteServer,
        http: httpx2.AsyncClient,
        breaker: Breaker,
        account: Account,
        workshop: Executor,
        read_pages: Callable[[Callable[[], bool]], ReadPages],
    ) -> None:
        self._name = entry.name
        self._licence = entry.licence
        self._server = server
        self._http = http
        self._breaker = breaker
        self._account = account
        self._workshop = workshop
        self._read_pages = read_pages
        self._slots = asyncio.Semaphore(server.concurrency)
        self._in_hand = 0

    @property
    def busy(self) -> bool:
        """Whether one more prompt would have to wait here. Thread-safe."""
        return self._in_hand >= self._server.concurrency

    async def ask(self, ask: Ask) -> Done[VisionResult]:
        """Gives what the model says. Cancelling closes the connection.

        Raises:
            EgressDenied: It cannot be made sure that what the policy redacts does not leave.
            BudgetExhausted: The tenant's budget does not have what the call may cost.
            RemoteUnavailable: The server fails, refuses the key, does not answer, or was left alone for failing before.
            FieldInvalid: The server refuses the request.
            OutputInvalid: What the model says does not satisfy the schema.
            ExecutionTimeout: The deadline came.
        """
        asked = time.monotonic()
        loop = asyncio.get_running_loop()
        self._in_hand += 1
        try:
            async with asyncio.timeout_at(ask.deadline):
                message, redactions = await loop.run_in_executor(self._workshop, self._prepared, ask)
                async with self._slots:
                    began = time.monotonic()
                    answer = await self._answered(ask, message, redactions)
                if message.has_schema:
                    await loop.run_in_executor(self._workshop, check_document, ask.sender.schema, answer.text)
        except TimeoutError as error:
            raise ExecutionTimeout(f"{self._name} did not answer before the job's deadline") from error
        finally:
            self._in_hand -= 1
        ended = time.monotonic()
        metrics.REMOTE_SECONDS.labels(self._name).observe(ended - began)
        value = self._result(answer, message)
        return Done(value=value, queued_ms=1000 * (began - asked), ran_ms=1000 * (ended - began), batch_size=1)

    def _prepared(self, ask: Ask) -> tuple[Message, int]:
        """Gives the bytes that may leave, and how many places were redacted. In a thread of the workshop."""
        rule, sender = ask.rule, ask.sender
        if rule.redact_boxes and sender.quotes_pages:
            raise EgressDenied("the policy redacts places of pages, and where texts of this prompt stood is not known")
        if schema_matched(sender.schema, rule):
            raise EgressDenied("the output schema matches a pattern that the policy redacts")
        prompt, count = redacted(ask.prompt, rule, sender.crops, self._read_pages(ask.prompt.stopped))
        return written(prompt, self._server, sender.schema), count

    async def _answered(self, ask: Ask, message: Message, redactions: int) -> Answer:
        """Asks until there is an answer, or no sense in asking again."""
        told = False

        def on_text(text: str, piece_count: int) -> None:
            nonlocal told
            told = True
            ask.prompt.on_text(text, piece_count)

        failures = 0
        while True:
            try:
                return await self._attempt(ask, message, redactions, on_text)
            except CallFailed as failed:
                failures += 1
                wait_s = max(failed.retry_after_s, _backoff_s(failures))
                # Text that was told cannot be taken back, and another answer would go on differently.
                hopeless = told or not failed.retryable or failures > self._server.retries
                if hopeless or failed.retry_after_s > MAX_RETRY_AFTER_S:
                    raise self._error(failed) from failed
                log.warning("a call outside failed and is made again", extra={"model": self._name, "said": str(failed)})
            await asyncio.sleep(wait_s)

    async def _attempt(
        self, ask: Ask, message: Message, redactions: int, on_text: Callable[[str, int], None]
    ) -> Answer:
        """Sends the bytes once, reserved before and settled after.

        Raises:
            CallFailed: There is no answer.
            BudgetExhausted, RemoteUnavailable: Nothing was sent.
        """
        server, leaving = self._server, self._leaving(ask, message, redactions)
        most = server.cost_micros(message.most_input_tokens, message.max_output_tokens)
        self._admit()
        try:
            await self._account.reserve(leaving, most, ask.sender.policy, longest_s=server.timeout_s)
        except BaseException:
            self._breaker.unknown()
            raise
        # Whoever does not come to an answer's end does not know what the server counted: that is charged in full.
        outcome, cost, usage = "cut", most, (0, 0)
        try:
            async with asyncio.timeout(server.timeout_s):
                answer = await exchange(self._http, server, message, on_text)
            usage = answer.usage or (message.likely_input_tokens, answer.likely_output_tokens())
            outcome, cost = "ok", server.cost_micros(*usage)
            if cost > most:
                log.warning(
                    "a call cost more than was reserved; is image_tokens of its model too low?",
                    extra={"model": self._name, "cost_micros": cost, "reserved_micros": most},
                )
            self._breaker.succeeded()
            return answer
        except CallFailed as failed:
            outcome, cost = failed.outcome, 0 if failed.free else most
            self._note(failed)
            raise
        except TimeoutError as error:
            outcome = "timed_out"
            late = CallFailed("timed_out", "took too long", free=False, retryable=False, at_fault=True)
            self._note(late)
            raise late from error
        except FieldInvalid as error:
            # The key is not there: nothing was sent.
            outcome, cost = "refused", 0
            self._breaker.unknown()
            raise self._unavailable(error.message, "key") from error
        except BaseException as error:
            outcome = "cancelled" if isinstance(error, asyncio.CancelledError) else outcome
            self._breaker.unknown()
            raise
        finally:
            metrics.REMOTE_CALLS.labels(self._name, outcome).inc()
            metrics.REMOTE_COST.labels(self._name).inc(cost / 1e6)
            await self._account.settle(leaving, outcome, cost, usage, longest_s=server.timeout_s)

    def _admit(self) -> None:
        try:
            self._breaker.admit()
        except RemoteUnavailable as error:
            error.metadata["model"] = self._name
            raise

    def _note(self, failed: CallFailed) -> None:
        if failed.at_fault:
            self._breaker.failed()
        else:
            self._breaker.succeeded()

    def _leaving(self, ask: Ask, message: Message, redactions: int) -> Leaving:
        sender = ask.sender
        return Leaving(
            id=secrets.token_hex(16),
            tenant=sender.tenant,
            job_id=sender.job_id,
            data_class=sender.data_class,
            model=self._name,
            host=self._server.host,
            documents=sender.documents,
            body_digest=message.digest,
            body_bytes=len(message.body),
            image_count=message.image_count,
            redaction_count=redactions,
            why=ask.why,
        )

    def _error(self, failed: CallFailed) -> TriptychError:
        if failed.status in _REFUSES_REQUEST:
            return FieldInvalid("messages", f"the server of {self._name} refuses them: {failed}")
        return self._unavailable(str(failed), failed.outcome, failed.retry_after_s)

    def _unavailable(self, said: str, cause: str, retry_after_s: float = 0) -> RemoteUnavailable:
        facts = {"model": self._name, "cause": cause}
        return RemoteUnavailable(
            f"the server of {self._name}: {said}", metadata=facts, retry_after_s=retry_after_s or None
        )

    def _result(self, answer: Answer, message: Message) -> VisionResult:
        input_tokens, output_tokens = answer.usage or (message.likely_input_tokens, answer.likely_output_tokens())
        return VisionResult(
            # What the server says that it is; nothing proves it.
            model=ModelRef(
                model=self._name,
                revision=answer.model or UNPINNED,
                engine=f"remote/{self._server.host}",
                licence=self._licence,
            ),
            text=answer.text,
            output_json=answer.text if message.has_schema else "",
            finish_reason=answer.finish,
            usage=TokenUsage(input_token_count=input_tokens, output_token_count=output_tokens),
        )


def _backoff_s(failures: int) -> float:
    longest_s = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** (failures - 1))
    return longest_s * random.uniform(0.5, 1.0)
