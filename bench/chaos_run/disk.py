"""A disk so small that it can be filled: a tmpfs which only this process and its children see."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SIZE_MIB = 256
_OWN_MOUNTS = "CHAOS_OWN_MOUNTS"


def begin_anew_with_own_mounts() -> None:
    """Starts this program again where it may mount; what it mounts ends with it. Goes on if that is refused."""
    unshare = shutil.which("unshare")
    if _OWN_MOUNTS in os.environ or unshare is None:
        return
    # Root may do it as it is (the second way may be switched off), others only as root of a namespace of their own.
    for flags in (("--mount",), ("--mount", "--map-root-user")):
        if subprocess.run([unshare, *flags, "true"], capture_output=True, check=False).returncode == 0:
            os.environ[_OWN_MOUNTS] = "1"
            os.execv(unshare, [unshare, *flags, sys.executable, *sys.argv])


class SmallDisk:
    """The folder of the blobs.

    Attributes:
        small: Whether it is a disk of its own. If not, it cannot be filled.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._ballast = folder / "ballast"
        self.small = _OWN_MOUNTS in os.environ and _mounted(folder)

    def fill(self) -> None:
        """Leaves no free byte."""
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while file.write(bytes(64 * 1024)):
                pass

    def free(self) -> None:
        """Gives the space back."""
        self._ballast.unlink(missing_ok=True)


def _mounted(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "chaos", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
