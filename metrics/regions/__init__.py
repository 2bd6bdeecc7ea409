"""Decision regions (P1 and P2): how many there are, who shares them, what attacks do to them."""
