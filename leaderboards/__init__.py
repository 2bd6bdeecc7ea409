"""Static leaderboards, drawn from result records alone."""
