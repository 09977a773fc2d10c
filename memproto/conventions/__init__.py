"""What clients mean by the 32 bits of ``flags``: named conventions as data, and pure functions over them.

The server stores flags and gives them back; the meaning is a private agreement between writer and reader, and the
agreements of popular clients contradict each other: 16 is "bytes" to one and "text" to another. So nothing in the
library looks into flags by itself; who wants to names a convention here.

Nothing is ever unpickled, unmarshalled or evaluated, and nothing is expanded without a limit.
"""

from memproto.conventions._forms import Compression, ConventionError, Form, Kind, Scalar
from memproto.conventions._serde import JSON_OBJECTS, Objects, serde
from memproto.conventions._table import CONVENTIONS, Bits, Convention, Reading
from memproto.conventions._values import LIMIT, candidates, describe, read, unwrap, write

__all__ = [
    "CONVENTIONS",
    "JSON_OBJECTS",
    "LIMIT",
    "Bits",
    "Compression",
    "Convention",
    "ConventionError",
    "Form",
    "Kind",
    "Objects",
    "Reading",
    "Scalar",
    "candidates",
    "describe",
    "read",
    "serde",
    "unwrap",
    "write",
]
