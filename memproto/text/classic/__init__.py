"""The classic text dialect: ``get``, ``set``, ``incr`` and their kin."""
