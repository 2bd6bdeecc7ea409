"""Passwords, tokens and keys: taken note of where they enter, and hidden in every text that leaves.

A URI is given to `redact` where it enters. Whatever is printed, logged or written passes `hide`.
"""

import os
import re
from urllib.parse import quote, unquote

#: What stands in the place of a secret.
HIDDEN = "***"
#: Environment variables whose values are secrets.
_VARIABLE = re.compile(
    r"(^|_)(TOKEN|KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|CONNECTION_STRING|SAS)$", re.IGNORECASE
)
_WORD = (
    "key|token|secret|password|passwd|pwd|passphrase|signature|sig|auth|authorization|credentials?|sas|code"
)
#: Names of values within a query: one of these words, after others and a separator or joined to one of a few.
_NAME = rf"(?:(?:[\w.\-]*[._\-])?(?:{_WORD})|(?:api|access|account|sharedaccess|secret|auth|private)(?:key|token))"
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
#: What the form of a text shows to be a secret, wherever it comes from.
_FORMS = [
    (re.compile(r"://(?:[^\s/@:'\"<>]*:[^\s/@'\"<>]*|[^\s/@:'\"<>]+)@"), f"://{HIDDEN}@"),
    # As a path, a URI has one slash.
    (re.compile(r"(\w:/)[^\s/@:'\"<>]+:[^\s/@'\"<>]*@"), rf"\1{HIDDEN}@"),
    (re.compile(rf"([?&;]{_NAME}=)[^\s&;#'\"<>]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\b((?:Basic|Bearer) )[\w.~+/\-]{8,}=*"), rf"\1{HIDDEN}"),
    (re.compile(r"\b((?:password|passwd|accountkey) ?= ?)[^\s;,&'\")]+", re.IGNORECASE), rf"\1{HIDDEN}"),
]
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:/?#]*)(?::([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)

#: Each secret that has entered this process, and what is shown instead.
_known: dict[str, str] = {}


def redact(uri: str) -> str:
    """A URI without its secrets; from now on `hide` knows them.

    User and password, the query and the fragment are left out, and so is a port that is no number: a password
    that holds a `#`, `?` or `/` as it is may begin there.
    """
    scheme, mark, rest = uri.partition("://")
    login, at, place = (rest if mark else uri).rpartition("@")
    if not mark:
        _learn_login(login)
        shown = f"{HIDDEN}@{place}" if at else uri
    elif rest.startswith("/"):  # a file, whose path may hold an @
        path, mark, query = rest.partition("?")
        shown = f"{scheme}://{path}{mark}{'&'.join(_learn_query(query))}"
    else:
        parts = _AUTHORITY.fullmatch(place)
        host, port, path, query, fragment = parts.groups("") if parts else ("", "", "", "", "")
        _learn_login(login)
        _learn_query(query)
        wrong_port = port if not port.isdecimal() else ""
        for part in (fragment, wrong_port):
            if _worth_hiding(part) and not part.startswith("/"):
                _learn(part)
        port = HIDDEN if wrong_port else port
        shown = f"{scheme}://{host}{':' if port else ''}{port}{path}"
    if shown != uri:
        _known[uri] = shown
    return shown


def hide(text: str, *, only_certain: bool = False) -> str:
    """A text without the secrets that this process knows, and without what has the form of one.

    Args:
        text: to be shown or written.
        only_certain: for files, which must not lose a word that merely happens to be somebody's password.
    """
    known = {**_environment(), **_known}
    for secret in sorted(known, key=len, reverse=True):
        certain = len(secret) >= 12 and _kinds(secret) > 1
        if secret in text and (certain or not only_certain):
            # As a whole word: a short password may be part of others.
            before = r"(?<!\w)" if re.match(r"\w", secret) else ""
            after = r"(?!\w)" if re.search(r"\w$", secret) else ""
            shown = known[secret]
            text = re.sub(f"{before}{re.escape(secret)}{after}", shown.replace("\\", r"\\"), text)
    # Pages hold code, in which `;key=value` is no secret; a login within a URI is one everywhere.
    for form, shown in _FORMS[:1] if only_certain else _FORMS:
        text = form.sub(shown, text)
    return text


def secrets_in(text: str) -> list[str]:
    """The known secrets that a text holds, the longest first."""
    return sorted(
        (secret for secret in {**_environment(), **_known} if secret in text), key=len, reverse=True
    )


def _environment() -> dict[str, str]:
    """Values of variables that are named like secrets, and URIs of others that hold a login."""
    found = {}
    for name, value in os.environ.items():
        if _VARIABLE.search(name) and _worth_hiding(value) and not os.path.exists(value):
            found[value] = HIDDEN
        elif "://" in value and "@" in value and value not in _known:
            redact(value)
    return found


def _worth_hiding(value: str) -> bool:
    """Whether a value is no everyday word such as `true`, which a text could not do without."""
    return len(value) >= 8 or (len(value) >= 5 and _kinds(value) > 1)


def _kinds(value: str) -> int:
    """How many kinds of characters a value has: small and capital letters, digits, others."""
    return sum(bool(re.search(kind, value)) for kind in ("[a-z]", "[A-Z]", "[0-9]", "[^a-zA-Z0-9]"))


def _learn_login(login: str) -> None:
    user, colon, password = login.partition(":")
    if colon:
        _learn(password)
    elif len(user) >= 12 or _kinds(user) > 2:  # a token stands in the place of a name
        _learn(user)


def _learn_query(query: str) -> list[str]:
    """The pairs of a query, as they may be shown."""
    shown = []
    for pair in filter(None, re.split("[&;]", query)):
        name, equals, value = pair.partition("=")
        secret = _SECRET_NAME.fullmatch(name) or (len(value) >= 12 and _kinds(value) > 1)
        if secret:
            _learn(value)
        shown.append(f"{name}{equals}{HIDDEN}" if secret else pair)
    return shown


def _learn(secret: str) -> None:
    # Libraries quote a password, unquote it, or take one for a URI that ends at `#`.
    for whole in (secret, unquote(secret), quote(unquote(secret), safe="")):
        for form in (whole, *re.split("[#?/@:]", whole)):
            if len(form) >= 3:
                _known[form] = HIDDEN
