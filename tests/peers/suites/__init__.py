"""Tests of other projects, unchanged: those that pass with memcached have to pass with the fake."""
