"""Work with a Kubeflow cluster: submit, watch, schedule and operate runs."""
