"""The papers' mathematics as functions: regions, surfaces, curvature."""
