"""The two servers that people write for a scikit-learn model, as small as they get.

Usage: serving_plain.py fastapi|kserve MODEL.pkl PORT
"""

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np


def fastapi(model: Any, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Rows(BaseModel):
        instances: list[list[float]]

    class Predictions(BaseModel):
        predictions: list[int]

    app = FastAPI()

    @app.post("/v1/models/model:predict")
    async def predict(rows: Rows) -> Predictions:
        return Predictions(predictions=model.predict(np.array(rows.instances)).tolist())

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False)


def kserve(model: Any, port: int) -> None:
    from kserve import Model, ModelServer

    class Predictor(Model):
        def __init__(self) -> None:
            super().__init__("model")
            self.ready = True

        async def predict(self, payload: dict[str, Any], headers: Any = None) -> dict[str, Any]:
            return {"predictions": model.predict(np.array(payload["instances"])).tolist()}

    # Without its access log, its gRPC server and a second port for metrics, like the others.
    ModelServer(http_port=port, enable_grpc=False, access_log_format=None).start([Predictor()])


if __name__ == "__main__":
    fitted = pickle.loads(Path(sys.argv[2]).read_bytes())
    {"fastapi": fastapi, "kserve": kserve}[sys.argv[1]](fitted, int(sys.argv[3]))
