"""Large memory pages for commands that run XLA on a CPU."""

import os
import platform
import sys

_TUNABLES = "GLIBC_TUNABLES"


def restart_with_large_pages() -> None:
    """Restarts this process once with glibc set to use large pages. Does nothing outside Linux.

    Each XLA call allocates its temporaries from the system and frees them: gigabytes per training step, with
    one page fault per 4 kB. Large pages reduce that to one fault per 2 MB. glibc reads the setting only at
    process start. If the user has set GLIBC_TUNABLES, it is left unchanged.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" and _TUNABLES not in os.environ:
        os.environ[_TUNABLES] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
