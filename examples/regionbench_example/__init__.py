"""One defense, one metric and one network for regionbench."""
