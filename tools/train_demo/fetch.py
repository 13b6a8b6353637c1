"""The two packages that the demo learns from, as they were when they were looked at."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REGISTRY = "https://registry.npmjs.org"


class FetchError(RuntimeError):
    """A package can't be had, or isn't the one that is meant."""


@dataclass(frozen=True)
class Package:
    """One version of an npm package.

    Attributes:
        name: with its scope.
        version: exactly.
        integrity: SHA-512 of the archive in base64, as npm's own ``integrity`` without the prefix.
        licence: what it is under.
        owner: whose it is.
    """

    name: str
    version: str
    integrity: str
    licence: str
    owner: str

    @property
    def archive(self) -> str:
        """The archive's file name, as ``npm pack`` writes it."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def url(self) -> str:
        """Where the registry has the archive."""
        return f"{REGISTRY}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


PICTURES = Package(
    "@iconify-json/fluent-emoji-flat",
    "1.2.6",
    "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    "MIT",
    "Fluent Emoji, Copyright (c) Microsoft Corporation",
)
NAMES = Package(
    "emojibase-data",
    "17.0.0",
    "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
    "MIT",
    "Copyright (c) Miles Johnson",
)


def fetch(package: Package, folder: Path) -> Path:
    """The package's archive, whose content is what ``integrity`` says; fetched only if it isn't there.

    ``npm pack`` fetches it where npm is installed, since it knows of mirrors and proxies; else plain HTTPS does.

    Args:
        package: which.
        folder: where archives are kept.

    Raises:
        FetchError: it can't be fetched, or is another file.
    """
    path = folder / package.archive
    if path.is_file() and _integrity(path) == package.integrity:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        fetched = _by_npm(package, Path(temporary)) or _by_https(package, Path(temporary))
        found = _integrity(fetched)
        if found != package.integrity:
            raise FetchError(
                f"{package.name} {package.version} isn't what it was: its SHA-512 is {found}, not {package.integrity}. "
                "Look at the registry that npm is configured for."
            )
        fetched.replace(path)
    return path


def read_json(archive: Path, member: str) -> Any:
    """A JSON file out of a package's archive. Raises FetchError if there is none of that name."""
    with tarfile.open(archive) as tar:
        try:
            content = tar.extractfile(f"package/{member}")
        except KeyError:
            content = None
        if content is None:
            raise FetchError(f"{archive.name} has no {member}.")
        return json.load(content)


def _by_npm(package: Package, folder: Path) -> Path | None:
    """None where npm isn't installed or can't fetch it."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    command = [npm, "pack", "--silent", f"{package.name}@{package.version}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    found = list(folder.glob("*.tgz"))
    return found[0] if done.returncode == 0 and len(found) == 1 else None


def _by_https(package: Package, folder: Path) -> Path:
    path = folder / package.archive
    try:
        with urllib.request.urlopen(package.url, timeout=60) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, TimeoutError) as error:
        raise FetchError(f"{package.url} can't be fetched ({error}). Install npm, or look at the network.") from error
    return path


def _integrity(path: Path) -> str:
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
