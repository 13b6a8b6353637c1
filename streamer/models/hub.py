"""What is on the hub, on this machine: only the files that are needed are fetched."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from streamer.errors import ModelError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
"""How a repository's name looks."""

_DISK_TROUBLE = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT)
_HUB_SECONDS = 20.0  # that the hub may take to answer


def fetch(
    model: str,
    choose: Callable[[Sequence[str]], Sequence[str]],
    always_there: str,
    told: str,
    notify: Callable[[str], None],
) -> Path:
    """The snapshot's directory in the hub's cache; without a network, with what was fetched before.

    Args:
        model: the repository's name.
        choose: of its files those that are needed.
        always_there: a file that every such repository has, by which one that was fetched before is known.
        told: about what is fetched, in words.
        notify: told of what takes time, a line each.

    Raises:
        ModelError: it can't be fetched.
    """
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    try:
        siblings = HfApi().model_info(model, timeout=_HUB_SECONDS).siblings or []
        files = choose([sibling.rfilename for sibling in siblings])
        notify(f"Fetching {model}: {len(files)} files, {told}")
        return Path(snapshot_download(model, allow_patterns=list(files)))
    except HfHubHTTPError as error:
        raise ModelError(model, f"the hub refused it ({error.response.status_code}).", _hint(error)) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
            raise
        cached = try_to_load_from_cache(model, always_there)
        if isinstance(cached, str):
            notify(f"The hub can't be reached ({type(error).__name__}): using what was fetched before")
            return Path(cached).parent
        raise ModelError(
            model,
            f"the hub can't be reached ({type(error).__name__}), and this model was never fetched before.",
            "Check the network, or download the model elsewhere and give its directory.",
        ) from error


def _hint(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return "It may need a login: run  hf auth login  and accept the model's licence on its page."
    return "Check the id's spelling."
