"""Signatures and references use the names that users import.

An annotation knows a class by the module that defines it, and a union by its members; the reference knows both by the
package that exports them.
"""

from __future__ import annotations

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import stringify_annotation

import memproto
import memproto.commands
import memproto.conventions
import memproto.engine
import memproto.server
import memproto.testing
import memproto.udp

_MODULES = (
    memproto.commands,
    memproto.testing,
    memproto.server,
    memproto.engine,
    memproto.udp,
    memproto.conventions,
    memproto,
)
_PUBLIC = {name: module.__name__ for module in _MODULES for name in module.__all__}

# How autodoc writes the two long unions, and what they are called.
_UNIONS = {
    stringify_annotation(getattr(memproto, name), "smart"): f"~memproto.{name}" for name in ("AnyRequest", "AnyReply")
}


def _named(text: str | None) -> str | None:
    for union, name in _UNIONS.items():
        text = text and text.replace(union, name)
    return text


def _sign(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    return _named(signature), _named(returns)


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> object:
    name = node["reftarget"].rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in _PUBLIC:
        return None
    target = f"{_PUBLIC[name]}.{name}"
    python = env.domains["py"]
    found = python.resolve_any_xref(env, node["refdoc"], app.builder, target, node, content)
    return found[0][1] if found else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _sign)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
