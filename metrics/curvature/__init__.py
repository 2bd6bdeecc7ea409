"""Curvature of decision boundaries and the shape of class regions (Fawzi et al.)."""
