"""Embeddings of memproto, each small enough to be pasted into a project of your own."""
