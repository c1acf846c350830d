"""Parts of URLs of sources."""

from frame_store.remote import ObjectClient, RemoteUrl


def root_of(url: RemoteUrl) -> RemoteUrl:
    """The whole bucket or server."""
    return RemoteUrl(scheme=url.scheme, root=url.root, path="")


def parent_of(url: RemoteUrl) -> RemoteUrl:
    """The folder that an object lies in."""
    return RemoteUrl(scheme=url.scheme, root=url.root, path=url.path.rpartition("/")[0])


def client_of_root(url: RemoteUrl) -> ObjectClient:
    """The client of the whole bucket or server: an object's key is the path of its URL."""
    return ObjectClient(root_of(url))
