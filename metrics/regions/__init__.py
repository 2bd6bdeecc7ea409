"""Decision regions (P1 and P2): their number, the images they hold, and their relation to attacks."""
