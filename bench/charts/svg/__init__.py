"""Charts as SVG inside a page, without a script."""
