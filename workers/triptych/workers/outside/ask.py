"""What is asked of a model outside, for whom, and under which rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from triptych.core.policy import Box, Rule, TenantPolicy
from triptych.workers.engines.generation import Prompt

Why = Literal["named", "overflow", "escalation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Whose bytes they are, and where they come from.

    Attributes:
        policy: Of the tenant.
        data_class: In force.
        documents: Digests of what the job and its parent read, 64 hex digits each.
        crops: Which part of its page each image of the prompt is, in order.
        quotes_pages: Whether texts of the prompt were read in documents elsewhere: where on a page is not known here.
        schema: JSON Schema of the answer; empty: free text.
    """

    tenant: str
    policy: TenantPolicy
    job_id: str
    data_class: str
    documents: tuple[str, ...] = ()
    crops: tuple[Box, ...] = ()
    quotes_pages: bool = False
    schema: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One prompt for a model outside.

    Attributes:
        prompt: As it was asked, nothing redacted.
        rule: Under which it may leave.
        deadline: On the clock of `time.monotonic`; None: there is none.
    """

    prompt: Prompt
    rule: Rule
    sender: Sender
    why: Why
    deadline: float | None = None
