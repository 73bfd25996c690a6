"""Who may be told the end of a job, at which addresses, and with whose secrets messages are signed."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from triptych.core.errors import FieldInvalid, TriptychError, WebhookNotAllowed
from triptych.core.settings import Settings
from triptych.core.signatures import secrets_of
from triptych.services.webhook_url import AllowedHosts, WebhookUrl

# What the registries have given out so far; all other IPv6 is reserved, private or local.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# IPv4 behind a translator (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class WebhookRules:
    """The operator's settings, read once.

    Raises:
        FieldInvalid: A setting is wrong, or a tenant has a webhook that could not be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._private = settings.webhook_private
        self._urls = settings.webhooks
        self._hosts: list[AllowedHosts] = []
        self._secrets: dict[str, Sequence[bytes]] = {}
        for pattern in settings.webhook_hosts:
            try:
                self._hosts.append(AllowedHosts.parse(pattern))
            except ValueError as error:
                raise FieldInvalid("TRIPTYCH_WEBHOOK_HOSTS", str(error)) from None
        for tenant, secrets in settings.webhook_secrets.items():
            try:
                self._secrets[tenant] = secrets_of(secrets.get_secret_value())
            except ValueError as error:
                raise FieldInvalid("TRIPTYCH_WEBHOOK_SECRETS", f"of tenant {tenant!r}: {error}") from None
        for tenant, url in settings.webhooks.items():
            try:
                self.check(url, tenant)
            except TriptychError as error:
                raise FieldInvalid("TRIPTYCH_WEBHOOKS", f"of tenant {tenant!r}: {error.message}") from None

    def url_for(self, tenant: str) -> str:
        """Gives the URL that is told of jobs without a webhook of their own; empty if there is none."""
        return self._urls.get(tenant, "")

    def secrets_of(self, tenant: str) -> Sequence[bytes]:
        """Gives the secrets that sign a tenant's messages; none if it has no webhooks."""
        return self._secrets.get(tenant, ())

    def check(self, url: str, tenant: str, field: str = "url") -> WebhookUrl:
        """Takes a URL apart that this tenant's messages may be sent to.

        Raises:
            FieldInvalid: It is no URL.
            WebhookNotAllowed: It is not allow-listed, names a private address, or the tenant has no secret.
        """
        try:
            parsed = WebhookUrl.parse(url)
        except ValueError as error:
            raise FieldInvalid(field, str(error)) from None
        if not self._hosts:
            raise WebhookNotAllowed("webhooks are off: the operator has allow-listed no hosts")
        if not any(hosts.hold(parsed) for hosts in self._hosts):
            raise WebhookNotAllowed(
                f"{parsed.scheme}://{parsed.authority} is not allow-listed: scheme, host and port have to be"
            )
        if _is_address(parsed.host):
            self.check_addresses(parsed.host, [parsed.host])
        if not self.secrets_of(tenant):
            raise WebhookNotAllowed(f"tenant {tenant!r} has no secret to sign messages with; the operator sets one")
        return parsed

    def check_addresses(self, host: str, addresses: Sequence[str]) -> None:
        """Asks that every address of a host may be connected to: one that may not taints the others.

        Raises:
            WebhookNotAllowed: One is private, loopback, link-local, multicast or reserved.
        """
        if not self._private and not all(_is_public(address) for address in addresses):
            raise WebhookNotAllowed(f"{host} is at a private or reserved address")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.ipv4_mapped
        if inner is None:
            return address in _GLOBAL_UNICAST and address.is_global and address.sixtofour is None
        address = inner
    return address.is_global and not address.is_multicast
