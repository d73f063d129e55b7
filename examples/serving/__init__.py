"""Prefill and decode on islands of their own."""
