"""Builders and fakes for tests, of the seams between rooms."""
