"""Memory in large pages, for commands that run XLA on a CPU."""

import os
import platform
import sys

_TUNABLES = "GLIBC_TUNABLES"


def restart_with_large_pages() -> None:
    """Starts this process anew with the C library told to ask for large pages; once, and on Linux alone.

    Each run of a program gets its temporaries from the system and gives them back: gigabytes in a training
    step, a fault for every 4 kB of them. Large pages make it one for 2 MB. The C library reads the setting
    only when a process starts; where the user has set any of its tunables, they stay as they are.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" and _TUNABLES not in os.environ:
        os.environ[_TUNABLES] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
