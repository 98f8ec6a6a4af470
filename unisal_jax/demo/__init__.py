"""The server of `unisal demo`: the page of `unisal export --format web`, on this machine."""
