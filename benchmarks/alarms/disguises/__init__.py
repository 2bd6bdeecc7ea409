"""What hides a network's gradient or its answer: before it, behind it, or inside it."""
