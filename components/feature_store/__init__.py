"""What featurize, the materialization and the model server share of Feast."""
