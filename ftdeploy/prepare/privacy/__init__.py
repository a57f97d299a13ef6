"""Identifiers of people in the rows: found, counted, and kept, replaced or refused as the recipe says."""
