"""Results in the formats of others: RobustBench, Every Eval Ever, Hugging Face, Croissant and SARIF."""
