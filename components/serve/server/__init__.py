"""The model server: one model, perhaps two during a rollout, behind REST and gRPC."""
