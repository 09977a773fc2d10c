"""How the documentation is built: ``sphinx-build -W -n -b html docs docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE / "_ext"), str(_HERE.parent)]

import memproto  # noqa: E402

project = "memproto"
author = "The memproto developers"
copyright = f"2026, {author}"  # noqa: A001
release = version = memproto.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "public", "tables"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
nitpicky = True
nitpick_ignore = [
    # Classes of other projects, whose documentation is not linked.
    *(
        ("py:class", f"collections.abc.{name}")
        for name in ("Callable", "Collection", "Generator", "Hashable", "Iterable", "Iterator", "Mapping", "Sequence")
    ),
    ("py:class", "asyncio.locks.Event"),
    ("py:class", "re.Pattern"),
    ("py:class", "os.PathLike"),
    ("py:class", "ssl.SSLContext"),
    ("py:class", "hypothesis.strategies.SearchStrategy"),
    ("py:class", "st.SearchStrategy"),
    # Names for type checkers only.
    ("py:class", "R_co"),
    ("py:class", "memproto.model.request_type.R_co"),
    ("py:class", "memproto.connection.client.R"),
    ("py:class", "memproto.engine._engine.R"),
    ("py:class", "memproto.testing.fake.pipe.R"),
    ("py:class", "memproto._wire.exchange.R_co"),
    ("py:class", "memproto._wire.packing.Declaration"),
    ("py:class", "memproto.conventions._table.M"),
]

# Type variables of clients and commands, and what only their signatures name.
nitpick_ignore_regex = [
    ("py:class", r"memproto\.(clients|commands)\.\w+\.(D|K|P|R|T|T_co|U|V|_Options)"),
    ("py:class", r"memproto\.clients\.(routing|options)\.\w+"),
    ("py:class", "Fault"),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "furo"
html_title = f"memproto {release}"
