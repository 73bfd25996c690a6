"""What a receiver needs: a message is taken only if it is ours, whole, and new."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import pytest

from triptych.client import webhooks
from triptych.client.webhooks import SignatureInvalid
from triptych.core.errors import FieldInvalid

KEY, OTHER_KEY = b"k" * 32, b"o" * 64
SECRET, OTHER = (f"whsec_{base64.b64encode(key).decode()}" for key in (KEY, OTHER_KEY))
BODY = json.dumps({"id": "m1", "type": "triptych.job.succeeded"}).encode()


def headers(*keys: bytes, message_id: str = "m1", age_s: float = 0, **changes: str) -> dict[str, str]:
    timestamp = str(int(time.time() - age_s))
    signed = f"{message_id}.{timestamp}.".encode() + BODY
    signatures = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "Webhook-Id": message_id,
        "webhook-timestamp": timestamp,
        "WEBHOOK-SIGNATURE": " ".join(f"v1,{each}" for each in signatures),
        **changes,
    }


def test_a_message_of_ours_is_given_back() -> None:
    assert webhooks.verify(BODY, headers(KEY), SECRET) == {"id": "m1", "type": "triptych.job.succeeded"}


def test_the_vector_of_the_specification_is_verified() -> None:
    """Of standard-webhooks' own test suite."""
    body = b'{"test": 2432232314}'
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    found = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert webhooks.verify(body, found, secret, tolerance_s=1e10) == {"test": 2432232314}


def test_while_a_secret_is_changed_either_side_may_know_both() -> None:
    assert webhooks.verify(BODY, headers(OTHER_KEY, KEY), SECRET)
    assert webhooks.verify(BODY, headers(KEY), f"{OTHER} {SECRET}")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: headers(OTHER_KEY), "no signature"),
        (lambda: headers(KEY, **{"Webhook-Id": "m2"}), "no signature"),
        (lambda: headers(KEY, **{"WEBHOOK-SIGNATURE": "v1a,AAAA v1,\u00e4"}), "no signature"),
        (lambda: headers(KEY, **{"WEBHOOK-SIGNATURE": ""}), "no signature"),
        (lambda: headers(KEY, **{"Webhook-Id": ""}), "missing"),
        (lambda: headers(KEY, **{"webhook-timestamp": ""}), "missing"),
        (lambda: headers(KEY, **{"webhook-timestamp": "9" * 5000}), "wrong"),
        (lambda: headers(KEY, **{"webhook-timestamp": "-1"}), "wrong"),
        (lambda: headers(KEY, age_s=400), "300 s"),
        (lambda: headers(KEY, age_s=-400), "300 s"),
        (dict, "missing"),
    ],
)
def test_what_is_not_ours_or_not_new_is_refused(make: Callable[[], dict[str, str]], says: str) -> None:
    with pytest.raises(SignatureInvalid, match=says):
        webhooks.verify(BODY, make(), SECRET)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        webhooks.verify(BODY + b" ", headers(KEY), SECRET)


@pytest.mark.parametrize("secret", ["", "hunter2", "whsec_", "whsec_?", f"whsec_{base64.b64encode(b'short').decode()}"])
def test_a_secret_that_is_none_is_told_but_not_shown(secret: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        webhooks.verify(BODY, headers(KEY), secret)
    assert "hunter2" not in str(caught.value)
