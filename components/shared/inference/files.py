"""Names of the files in a model's data folder."""

SCHEMA, TRANSFORM, ESTIMATOR = "schema.json", "transform.json", "estimator.pkl"

#: A network in place of the pickled estimator: the same graph for PyTorch and for servers that take ONNX.
NETWORK, ONNX = "network.pt2", "network.onnx"
