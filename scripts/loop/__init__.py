"""The closed loop on one machine: flights are served, drift, and a better model takes over. `make loop`."""
