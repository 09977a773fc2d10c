"""The words of ``-o``. Those about memcached's slabs, threads and LRU are accepted and do nothing."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

#: Words without a value, or whose value says nothing.
_FLAGS = """
    maxconns_fast no_maxconns_fast no_hashexpand slab_reassign no_slab_reassign slab_automove no_slab_automove
    lru_crawler no_lru_crawler lru_maintainer no_lru_maintainer track_sizes inline_ascii_resp no_inline_ascii_resp
    modern no_modern no_chunked_items drop_privileges no_drop_privileges relaxed_privileges
    ssl_session_cache ssl_kernel_tls ext_drop_unread
"""

#: Words with a text.
_TEXTS = "ssl_chain_cert ssl_key ssl_keyformat ssl_ciphers ssl_ca_cert hash_algorithm ext_path"

#: Words with a number, or with several of them: slab_sizes=96-192.
_NUMBERS = """
    hashpower slab_automove_ratio slab_automove_window slab_automove_freeratio slab_sizes slab_chunk_max
    tail_repair_time lru_crawler_sleep lru_crawler_tocrawl hot_lru_pct warm_lru_pct hot_max_factor warm_max_factor
    temporary_ttl idle_timeout watcher_logbuf_size worker_logbuf_size resp_obj_mem_limit read_buf_mem_limit
    ssl_verify_mode ssl_wbuf_size ssl_min_version sock_cookie_id
    ext_page_size ext_wbuf_size ext_threads ext_io_depth ext_item_size ext_item_age ext_low_ttl
    ext_recache_rate ext_compact_under ext_drop_under ext_max_sleep ext_max_frag
"""

#: What the value of each word looks like; ``None`` for a word without one.
_VALUES: dict[str, str | None] = {
    **dict.fromkeys(_FLAGS.split()),
    **dict.fromkeys(_TEXTS.split(), ".+"),
    **dict.fromkeys(_NUMBERS.split(), "[0-9.-]+"),
    # These do something, or memcached refuses a wrong value.
    "idle_timeout": "[0-9]{1,9}",
    "ssl_verify_mode": "[0-3]",
    "ssl_min_version": "[0-3]",
    "ssl_keyformat": "(?i:PEM)",
    "hash_algorithm": "jenkins|murmur3|xxh3",
    "hashpower": "1[2-9]|2[0-9]|3[0-2]",
}

EFFECTIVE = (
    "idle_timeout",
    "ssl_chain_cert",
    "ssl_key",
    "ssl_ca_cert",
    "ssl_ciphers",
    "ssl_verify_mode",
    "ssl_min_version",
)


def read(text: str) -> dict[str, str]:
    """Read ``a=1,b`` into a dict. Raises ArgumentTypeError for what memcached does not know."""
    found: dict[str, str] = {}
    for part in text.removesuffix(",").split(",") if text else ():
        name, _, value = part.partition("=")
        if name not in _VALUES:
            raise ArgumentTypeError(f'Illegal suboption "{part}"')
        rule = _VALUES[name]
        if rule is not None and not value:
            raise ArgumentTypeError(f"Missing {name} argument")
        if rule is not None and not re.fullmatch(rule, value):
            raise ArgumentTypeError(f"Invalid {name}: {value}")
        found[name] = value
    return found
