"""Charts as PNG pictures, drawn by matplotlib."""
