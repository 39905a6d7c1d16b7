"""One message to a chat's incoming webhook: opt in, within a time limit, and never a reason to fail.

The address is a secret: who holds it may post. It stands in no message, no file and no redirect.
"""

from __future__ import annotations

import http.client
import ipaddress
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from bench.model.errors import EXIT_USAGE, RailGaugeError

SECONDS = 10.0


class NotSent(RailGaugeError):
    """The message was not taken; the text names the host alone."""


class BadAddress(RailGaugeError, ValueError):
    """An address that nothing may be sent to; the text does not repeat it."""

    exit_status = EXIT_USAGE


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the digest goes to the given address only."""

    def redirect_request(self, *_: Any) -> None:
        return None


def refuse(address: str) -> None:
    """Raise BadAddress unless ``address`` is https, or http to this machine."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise BadAddress("--webhook is not an address; give https://HOST/...") from None
    if not host or parts.scheme not in ("https", "http"):
        raise BadAddress("--webhook is not an address; give https://HOST/...")
    if parts.scheme == "http" and not local(host):
        raise BadAddress(
            "--webhook would be sent in the clear; give an https address (http is for localhost alone)"
        )


def local(host: str) -> bool:
    """Whether a host is this machine, by name or number."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def send(address: str, payload: bytes, seconds: float = SECONDS) -> None:
    """POST ``payload``, which is JSON. Raises NotSent for anything but a 2xx answer within ``seconds``."""
    refuse(address)
    host = urlsplit(address).hostname
    request = urllib.request.Request(
        address, payload, {"Content-Type": "application/json", "User-Agent": "railgauge"}, method="POST"
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        raise NotSent(f"{host} answered {error.code}") from None
    except urllib.error.URLError as error:
        raise NotSent(f"{host} cannot be reached: {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotSent(f"{host} did not take it: {type(error).__name__}") from None
