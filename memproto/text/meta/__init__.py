"""The meta text dialect: ``mg``, ``ms``, ``md``, ``ma``, ``mn`` and ``me``."""
