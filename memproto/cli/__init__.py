"""The command ``memproto``: one module for each subcommand."""
