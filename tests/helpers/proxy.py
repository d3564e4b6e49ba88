"""nginx with the configuration that ships, before a server of these tests."""

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.served import free_port, wait_for

ROOT = Path(__file__).parents[2]
TOKEN = "Secret-1"
OTHER_SITE = "http://other.example"


@contextmanager
def proxy(folder, server_port):
    """Yield nginx's port; only places and ports of the configuration are replaced."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        pytest.skip("no nginx here")
    port = free_port()
    text = (ROOT / "docs" / "deploy" / "nginx.conf").read_text()
    for place, here in (
        ("127.0.0.1:8000", f"127.0.0.1:{server_port}"),
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        ("/etc/nginx/", f"{folder}/"),
        ("/var/log/nginx/", f"{folder}/"),
        ("/usr/share/emonet", str(ROOT / "examples")),
    ):
        assert place in text
        text = text.replace(place, here)
    (folder / "emonet-tokens.conf").write_text(f'"~^Bearer {TOKEN}$" 1;\n')
    (folder / "emonet-origins.conf").write_text(f'"{OTHER_SITE}" $http_origin;\n')
    (folder / "emonet.conf").write_text(text)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ types {{ text/html html; }} {temporary}"
        f"include {folder}/emonet.conf; }}\n"
    )
    process = subprocess.Popen([binary, "-p", folder, "-c", folder / "nginx.conf"])

    def answers():
        assert process.poll() is None, (folder / "error.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(answers)
        yield port
    finally:
        process.terminate()
        process.wait(30)
