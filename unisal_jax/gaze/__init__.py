"""Exports of eye trackers: which format a file has, and what it holds."""
