"""An in-memory storage for gs:// URLs, with objects but no folders, like Google Cloud Storage."""

import io

import fsspec
import pytest
from etils import epath

from unisal_jax.train import cloud as clouds


class FakeCloud(fsspec.AbstractFileSystem):
    """The fsspec methods that `etils.epath` uses; an object appears when it is closed."""

    protocol = ("gs", "gcs")
    objects: dict[str, bytes]
    failing = False

    def _under(self, path):
        prefix = f"{self._strip_protocol(path)}/"
        return {name: content for name, content in self.objects.items() if name.startswith(prefix)}

    def ls(self, path, detail=True, **kwargs):
        path = self._strip_protocol(path)
        if path in self.objects:
            entries = {path: "file"}
        else:
            below = [name[len(path) + 1 :] for name in self._under(path)]
            entries = {f"{path}/{b.split('/')[0]}": "directory" if "/" in b else "file" for b in below}
        if not entries:
            raise FileNotFoundError(path)
        size = {name: len(self.objects.get(name, b"")) for name in entries}
        listed = [{"name": name, "size": size[name], "type": kind} for name, kind in entries.items()]
        return listed if detail else list(entries)

    def info(self, path, **kwargs):
        path = self._strip_protocol(path)
        if path in self.objects:
            return {"name": path, "size": len(self.objects[path]), "type": "file"}
        if self._under(path):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def makedirs(self, path, exist_ok=False):
        pass  # there are none

    def _rm(self, path):
        del self.objects[self._strip_protocol(path)]

    def rm(self, path, recursive=False, maxdepth=None):
        self.info(path)
        for name in [self._strip_protocol(path), *(self._under(path) if recursive else ())]:
            self.objects.pop(name, None)

    def _open(self, path, mode="rb", **kwargs):
        if self.failing:
            raise OSError("no connection")
        if mode == "rb":
            self.info(path)
            return io.BytesIO(self.objects[path])
        assert mode == "wb"
        return _Upload(self, path)


class _Upload(io.BytesIO):
    def __init__(self, cloud, path):
        super().__init__()
        self._cloud, self._path = cloud, path

    def close(self):
        if not self.closed:
            self._cloud.objects[self._path] = self.getvalue()
        super().close()


def download(cloud, prefix, folder):
    """Writes the content of the storage as files, with `best` as a link."""
    for name, content in cloud.objects.items():
        path = folder / name.removeprefix(f"{prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "best":
            path.symlink_to(content.decode().strip())
        else:
            path.write_bytes(content)
    return folder


@pytest.fixture
def cloud(monkeypatch):
    """An empty storage; its objects by BUCKET/NAME."""
    monkeypatch.setattr(clouds, "PATIENCE", 0.3)
    monkeypatch.setattr(clouds, "SETTLE", 0.0)
    monkeypatch.setattr(epath.gpath, "_is_tf_installed", lambda: False)
    made = type("OneCloud", (FakeCloud,), {"objects": {}})(skip_instance_cache=True)
    monkeypatch.setattr(epath.backend.fsspec_backend, "fs", lambda path: made)
    return made
