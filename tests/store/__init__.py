"""Tests of the store: the interface on every engine, the schema, the files, the ranking, export and import."""
