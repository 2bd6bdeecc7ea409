"""Charts as interactive pages, drawn by plotly."""
