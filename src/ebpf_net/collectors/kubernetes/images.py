"""Image references: a name and a version."""

from __future__ import annotations


def split_image(reference: str) -> tuple[str, str]:
    """Split a reference into name and tag; a digest alone is the version."""
    name, _, digest = reference.partition("@")
    path, has_tag, tag = name.rpartition(":")
    if has_tag and "/" not in tag:  # else the colon is before a registry's port
        return path, tag
    return name, digest or ("latest" if name else "")
