"""Looks after calls that run: every person has one assistant, and calls end. docs/watch.md tells how."""
