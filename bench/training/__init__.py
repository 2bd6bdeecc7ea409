"""Training one classifier, and the search for its hyper-parameters."""
