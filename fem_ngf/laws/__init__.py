"""What an identified law rests on, and how it is shown."""
