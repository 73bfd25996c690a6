"""Which URLs may be told: form, allow-list, addresses, secrets; and what is refused before anything starts."""

import pytest

from triptych.core.errors import FieldInvalid, WebhookNotAllowed
from triptych.core.settings import Settings
from triptych.services.backend import Backend
from triptych.services.webhook_rules import WebhookRules
from triptych.services.webhook_url import WebhookUrl

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def rules(*hosts, **changes):
    values = {"webhook_hosts": list(hosts), "webhook_secrets": {"acme": SECRET}, **changes}
    return WebhookRules(Settings(_env_file=None, **values))


def allows(pattern, url):
    try:
        rules(pattern, webhook_private=True).check(url, "acme")
    except WebhookNotAllowed:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://Hooks.example.com", ("https", "hooks.example.com", 443, "hooks.example.com", "/")),
        ("HTTP://h:8080/a/b?c=d", ("http", "h", 8080, "h:8080", "/a/b?c=d")),
        ("https://h?q", ("https", "h", 443, "h", "/?q")),
        ("https://[2001:DB8::1]:99/x", ("https", "2001:db8::1", 99, "[2001:db8::1]:99", "/x")),
    ],
)
def test_a_url_is_taken_apart_once(url, parts):
    found = WebhookUrl.parse(url)
    assert (found.scheme, found.host, found.port, found.authority, found.target) == parts


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.com", "ftp://h/", "https://", "https:///x", "https://user@h/", "https://user:pw@h/",
        "https://h/#f", "https://h/a b", "https://h\\@other/", "https://h/\r\nx: y", "https://h:0/", "https://h:65536/",
        "https://h:x/", "https://hä/", "https://h./", "https://a..b/", "https://-h/", "https://[1::2::3]/",
        "https://h%2eexample/", "https://" + "a" * 64 + "/", "https://h/" + "a" * 2048,
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused_with_its_field(url):
    with pytest.raises(FieldInvalid) as caught:
        rules("*").check(url, "acme", "options.webhook.url")
    assert caught.value.metadata["field"] == "options.webhook.url"


@pytest.mark.parametrize(
    ("pattern", "url", "allowed"),
    [
        ("h.example", "https://h.example/x", True),
        ("h.example", "https://H.EXAMPLE:443/x", True),
        ("h.example", "https://h.example:8443/x", False),
        ("h.example", "http://h.example/x", False),
        ("h.example", "https://a.h.example/x", False),
        ("h.example", "https://h.example.evil/x", False),
        ("h.example:8443", "https://h.example:8443/x", True),
        ("h.example:8443", "https://h.example/x", False),
        ("http://h.example", "http://h.example/x", True),
        ("http://h.example", "https://h.example/x", False),
        ("http://10.0.0.7:8080", "http://10.0.0.7:8080/", True),
        ("*.example", "https://a.b.example/", True),
        ("*.example", "https://example/", False),
        ("*.example", "https://badexample/", False),
        ("*", "https://anything.at.all/", True),
        ("*", "http://anything.at.all/", False),
        ("[::1]:8443", "https://[0::1]:8443/", True),
    ],
)
def test_scheme_host_and_port_have_to_be_allow_listed(pattern, url, allowed):
    assert allows(pattern, url) is allowed


def test_without_allow_listed_hosts_webhooks_are_off():
    with pytest.raises(WebhookNotAllowed, match="off"):
        rules().check("https://h.example/", "acme")


def test_a_tenant_without_a_secret_has_no_webhooks():
    with pytest.raises(WebhookNotAllowed, match="secret"):
        rules("h.example").check("https://h.example/", "other")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1",
        "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1",
    ],
)  # fmt: skip
def test_no_private_or_reserved_address_is_connected_to_unless_the_operator_says_so(address):
    with pytest.raises(WebhookNotAllowed):
        rules("h").check_addresses("h", ["8.8.8.8", address])
    rules("h", webhook_private=True).check_addresses("h", [address])


def test_public_addresses_are_connected_to():
    rules("h").check_addresses("h", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])


def test_a_private_address_in_a_url_is_refused_at_once():
    with pytest.raises(WebhookNotAllowed, match="private"):
        rules("http://127.0.0.1:80").check("http://127.0.0.1/", "acme")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"webhook_hosts": ["ftp://h"]}, "TRIPTYCH_WEBHOOK_HOSTS"),
        ({"webhook_hosts": ["h/path"]}, "TRIPTYCH_WEBHOOK_HOSTS"),
        ({"webhook_secrets": {"acme": "hunter2"}}, "TRIPTYCH_WEBHOOK_SECRETS"),
        ({"webhook_secrets": {"acme": "whsec_c2hvcnQ="}}, "24 to 64 bytes"),
        ({"webhook_secrets": {"acme": " "}}, "no secret"),
        ({"webhooks": {"acme": "https://h.example/"}}, "webhooks are off"),
        ({"webhooks": {"acme": "https://h.example/"}, "webhook_hosts": ["other"]}, "not allow-listed"),
        ({"webhooks": {"acme": "https://h.example/"}, "webhook_hosts": ["h.example"]}, "'acme' has no secret"),
    ],
)
async def test_a_setting_that_cannot_work_keeps_the_services_from_starting(settings, changes, says):
    with pytest.raises(FieldInvalid, match=says) as caught:
        Backend.open(settings.model_validate({**settings.model_dump(), **changes}))
    assert "hunter2" not in caught.value.message
