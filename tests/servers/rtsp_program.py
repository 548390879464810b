"""A real RTSP server, run by Debian's own python3, which has GStreamer's bindings.

Called with one argument, JSON: ``{"port": 0, "mounts": {PATH: FILE}, "user", "password",
"certificate"}``; an empty user lets everybody in, an empty certificate means no TLS. Prints
``ready PORT`` when it listens, and ends when its standard input is closed.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

DEMUXERS = {".mp4": "qtdemux", ".mkv": "matroskademux", ".ts": "tsdemux"}

gi: Any = importlib.import_module("gi")
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
Gio: Any = importlib.import_module("gi.repository.Gio")
GLib: Any = importlib.import_module("gi.repository.GLib")
Gst: Any = importlib.import_module("gi.repository.Gst")
Rtsp: Any = importlib.import_module("gi.repository.GstRtspServer")


def launch_line(file: str) -> str:
    """What GStreamer runs for each client: the clip from its start, not encoded again."""
    demuxer = DEMUXERS[file[file.rindex(".") :]]
    # Parameter sets go before every key frame, as cameras send them. The parser puts them there;
    # the payloader would put them before every slice of it.
    return (
        f'( filesrc location="{file}" ! {demuxer} ! h264parse config-interval=-1 '
        "! rtph264pay name=pay0 pt=96 config-interval=0 )"
    )


def factory_of(file: str, role: str) -> Any:
    """Serves a file to everybody who has the role; the empty role is everybody."""
    factory = Rtsp.RTSPMediaFactory()
    factory.set_launch(launch_line(file))
    factory.set_shared(False)
    if role:
        permissions = Rtsp.RTSPPermissions()
        for what in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role(role, what, True)
        factory.set_permissions(permissions)
    return factory


def auth_of(user: str, password: str, certificate: str) -> Any:
    """Asks every client for this user and password; shows a certificate."""
    auth = Rtsp.RTSPAuth()
    if user:
        token = Rtsp.RTSPToken()
        token.set_string("media.factory.role", user)
        auth.add_basic(Rtsp.RTSPAuth.make_basic(user, password), token)
    if certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
    return auth


def server_of(wishes: dict[str, Any]) -> Any:
    """The server with all its mounts."""
    server = Rtsp.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(wishes["port"]))
    user, password = wishes["user"], wishes["password"]
    for path, file in wishes["mounts"].items():
        server.get_mount_points().add_factory(path, factory_of(file, user))
    if user or wishes["certificate"]:
        server.set_auth(auth_of(user, password, wishes["certificate"]))
    return server


def main() -> None:
    """Serve until standard input is closed."""
    Gst.init(None)
    server = server_of(json.loads(sys.argv[1]))
    loop = GLib.MainLoop()
    if server.attach(None) == 0:
        sys.exit("cannot listen on the port")
    # The kernel closes the pipe however the parent ends: no server outlives its test.
    GLib.io_add_watch(0, GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, lambda *_: loop.quit())
    sys.stdout.write(f"ready {server.get_bound_port()}\n")
    sys.stdout.flush()
    loop.run()


if __name__ == "__main__":
    main()
