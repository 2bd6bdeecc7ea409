"""The floor: nouns that everyone shares. It imports nothing else of ours."""
