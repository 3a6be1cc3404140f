"""Stateful stand-ins for servers that cannot run here."""
