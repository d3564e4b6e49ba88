"""A network camera: pictures without end over HTTP, on this machine only, as many as it is told."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


@contextmanager
def mjpeg_camera(*pictures, clip=None):
    """Yield its address; the n-th connection gets ``pictures[n]`` pictures, then it is closed.

    Picture i is of brightness 5 i. After the last connection, nobody answers. ``clip`` is the
    content of a file that is served instead.
    """
    left = list(pictures)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if clip is not None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(clip)))
                self.end_headers()
                self.wfile.write(clip)
                return
            if not left:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for i in range(left.pop(0)):
                picture = cv2.imencode(".jpg", np.full((48, 64, 3), 5 * i, np.uint8))[1].tobytes()
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}"
                self.wfile.write(b"--frame\r\n" + head.encode() + b"\r\n\r\n" + picture + b"\r\n")

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://user:secret@127.0.0.1:{server.server_port}/live.mjpg"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
