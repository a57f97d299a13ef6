"""FastAPI and ONNX Runtime as most tutorials have them: a plain function, which Starlette runs on its threads.

Usage: ``MODEL=FOLDER python -m uvicorn fastapi_service:app``, with fastapi, uvicorn[standard], onnxruntime and
tokenizers installed.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from plain_model import PlainModel
from pydantic import BaseModel

app = FastAPI()
model = PlainModel()


class Question(BaseModel):
    """One text."""

    text: str


@app.get("/readyz")
def ready() -> dict[str, bool]:
    """Once it is imported."""
    return {"ready": True}


@app.post("/predict")
def predict(question: Question) -> list[dict[str, Any]]:
    """Labels with scores."""
    return model.answer([question.text])[0]
