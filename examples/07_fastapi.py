"""A session inside a FastAPI application of yours.

EMONET_MODEL=artifacts/emonet_8.fp32.onnx uvicorn --app-dir examples 07_fastapi:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Body, FastAPI, HTTPException

from emonet_deploy.errors import InputError
from emonet_deploy.runtime import EmotionPipeline, load_detector, load_session
from emonet_deploy.runtime.media.image import decode_image
from emonet_deploy.runtime.output.sinks import face_values


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load once, when the application starts; close when it ends."""
    with load_session(os.environ["EMONET_MODEL"], threads=1) as session:
        app.state.session, app.state.detector = session, load_detector()
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/faces")
def faces(picture: bytes = Body(media_type="image/*")) -> list[dict[str, Any]]:
    """Answer with the faces of a picture file. No `async`: FastAPI runs it in a thread."""
    try:
        image = decode_image(picture, "the picture")
    except InputError as error:
        raise HTTPException(422, str(error)) from error
    (result,) = EmotionPipeline(app.state.session, app.state.detector).run([image])
    return [face_values(face) for face in result.faces]
