"""Helpers of the tests that are no fakes."""
