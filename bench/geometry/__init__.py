"""The mathematics of the papers as functions: regions, surfaces, curvature."""
