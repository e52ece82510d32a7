"""What several components need: errors, artifacts on disk, storage, tracking, the model format."""
