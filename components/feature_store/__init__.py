"""What featurize, the materialization and the model server share of Feast; nothing here imports it by itself."""
