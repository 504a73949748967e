"""Secrets of channels, as the kubelet mounts them."""

from __future__ import annotations

from pathlib import Path

from dbt_notifier.secret_files import SecretFiles


def write_secret(folder: Path, **keys: str) -> SecretFiles:
    """The Secret of a channel; a key's ``__`` stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in keys.items():
        (folder / key.replace("__", ".")).write_text(value, encoding="utf-8")
    return SecretFiles(folder)
