"""Composed scenes: what is in a picture is drawn first (spec, layout), then painted (compose) and told (captions)."""
