"""The AWS account that the request in hand was made for."""

from contextvars import ContextVar

from .testbed import ACCOUNT

_current: ContextVar[str] = ContextVar("account", default=ACCOUNT)


def current() -> str:
    """Twelve digits. Outside a request: the account that LocalStack gives to every access key but a number's."""
    return _current.get()


def enter(account_id: str | None) -> None:
    """Called for each request before its operation; every request is handled in one thread from end to end."""
    _current.set(account_id or ACCOUNT)
