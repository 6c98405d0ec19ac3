"""manifest.json, the last file of a folder: its presence says that the run is complete."""

from collections.abc import Mapping
from typing import Any

from qprune_cli.record.folder import Folder
from qprune_cli.record.provenance import git_commit, versions


def manifest(
    folder: Folder, seed: int, device: object, seconds: Mapping[str, float], digests: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    """What manifest.json is to say of a folder that holds everything else; once written, it says that the run is complete."""
    return {
        "status": "complete",
        "versions": versions(),
        "git_commit": git_commit(),
        "seed": seed,
        "device": str(device),
        "seconds": dict(seconds),
        "sha256": dict(digests),
        **more,
        "files": folder.digests(),
    }


def write_manifest(
    folder: Folder, seed: int, device: object, seconds: Mapping[str, float], digests: Mapping[str, str], **more: Any
) -> None:
    """manifest.json, the last file: its presence says that the run is complete."""
    folder.json("manifest.json", manifest(folder, seed, device, seconds, digests, **more))
