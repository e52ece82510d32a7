"""The page at ``/``: the model's card, its signature, and a form to try it."""
