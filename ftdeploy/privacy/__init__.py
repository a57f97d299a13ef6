"""Identifiers of people in a text, recognised by what they look like; what becomes of them others decide."""
